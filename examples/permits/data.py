"""The example's data as JSON lines: invented people, applications and slots of one office.

Ids are made from names (RFC 9562 version 5), so every load gives the same rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

APPLICATIONS = 240
FIRST = ("Ada", "Berk", "Chloé", "Deniz", "Emil", "Fatma", "Greta", "Hugo", "Ida", "Jonas")
LAST = ("Aydin", "Bauer", "Costa", "Demir", "Eriksen", "Fischer", "Garnier", "Huber")
SUBJECTS = {
    "building": ("a balcony at the back", "a second floor", "a garage", "a new roof"),
    "event": ("a summer festival", "a street market", "a concert in the park"),
    "kiosk": ("flowers at the station", "newspapers at the square", "ice cream by the river"),
}
TIMES = ("08:00:00", "09:30:00", "11:00:00", "14:00:00")


def write_all(folder: Path, office: str, today: date) -> dict[str, Path]:
    """Write the rows of an office below `folder`. Returns topic → file, in the order of loading."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(office)
    rows = {
        "officers": officers(office),
        "slots": slots(office, today),
        "applicants": applicants(office),
        "applications": applications(office, today, chance),
    }
    files = {}
    for topic, items in rows.items():
        files[topic] = folder / f"{office}-{topic}.jsonl"
        files[topic].write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    return files


def id_of(*names: object) -> str:
    """Return the id of a row."""
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, names))))


def officers(office: str) -> Iterator[Mapping[str, Any]]:
    """Four officers."""
    languages = (["de"], ["de", "en"], ["de", "tr"], ["en", "fr"])
    for n, spoken in enumerate(languages):
        name = f"{FIRST[n * 2 + 1]} {LAST[n * 2]}"
        id = id_of(office, "officer", n)
        yield {"id": id, "name": name, "room": f"{n + 1}.0{n + 1}", "languages": spoken}


def slots(office: str, today: date) -> Iterator[Mapping[str, Any]]:
    """Four slots of each officer on each of the next ten days."""
    for n in range(4):
        for day in range(1, 11):
            for at in TIMES:
                yield {
                    "id": id_of(office, "slot", n, day, at),
                    "officer_id": id_of(office, "officer", n),
                    "day": str(today + timedelta(days=day)),
                    "begins_at": at,
                    "length": "PT45M",
                    "places": 2,
                }


def applicants(office: str) -> Iterator[Mapping[str, Any]]:
    """Every first name with every last name."""
    for n, (first, last) in enumerate((f, name) for f in FIRST for name in LAST):
        yield {
            "name": f"{first} {last}",
            "email": f"person{n}@{office}.example",
            "born_on": str(date(1950 + n % 50, 1 + n % 12, 1 + n % 28)),
        }


def applications(office: str, today: date, chance: random.Random) -> Iterator[Mapping[str, Any]]:
    """Drafts of the last twelve months; applicants are named by their address."""
    for n in range(APPLICATIONS):
        kind = chance.choice([*SUBJECTS])
        begins = today - timedelta(days=chance.randrange(330) - 30)
        yield {
            "id": id_of(office, "application", n),
            "number": f"{begins.year}-{n:04}",
            "applicant.email": f"person{chance.randrange(80)}@{office}.example",
            "kind": kind,
            "subject": f"Permit for {chance.choice(SUBJECTS[kind])}",
            "zones": chance.sample(["A1", "A2", "B1", "B2", "C1"], chance.randrange(1, 3)),
            "begins_on": str(begins),
            "ends_on": str(begins + timedelta(days=chance.choice([0, 2, 30, 365]))),
            "fee": chance.choice(["25.00", "40.00", "120.00"]),
        }


def decisions(office: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield (id of an application, its transitions); a transition is (user, name, reason)."""
    chance = random.Random(office)
    for n in range(APPLICATIONS):
        verdicts: list[list[tuple[str, str, str]]] = [
            [("officer", "approve", "")],
            [("officer", "approve", "")],
            [("officer", "reject", "The plan of the site is missing.")],
            [],
        ]
        steps = [("clerk", "submit", ""), *chance.choice(verdicts)]
        yield id_of(office, "application", n), steps if n % 5 else []
