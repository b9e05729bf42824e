"""The example's data as JSON lines: real countries and airports, invented flights. Nothing is
downloaded.

Airports come from the wheel airportsdata, country names from iso3166.tab of the wheel tzdata. Ids
are made from names (RFC 9562 version 5), so every load gives the same rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import airportsdata

FLIGHTS = 300
AIRLINES = ("FM", "OA", "NW", "SK", "LX", "TB")
# Kosovo has airports but no code in ISO 3166-1; XK is in common use.
UNLISTED = {"XK": "Kosovo"}


def write_all(folder: Path, day: datetime) -> dict[str, Path]:
    """Write countries, airports and flights of `day` (midnight, UTC) below `folder`; topic →
    file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    airports = list(airportsdata.load("ICAO").values())
    rows = {
        "countries": countries(airports),
        "airports": map(airport, airports),
        "flights": flights(airports, day),
    }
    return {topic: _write(folder / f"{topic}.jsonl", items) for topic, items in rows.items()}


def countries(airports: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Every country that has an airport."""
    names = _country_names()
    for code in sorted({a["country"] for a in airports}):
        yield {"id": _id("country", code), "code": code, "name": names[code]}


def airport(a: Mapping[str, Any]) -> dict[str, Any]:
    """One airport; empty values are null."""
    return {
        "id": _id("airport", a["icao"]),
        "icao": a["icao"],
        "iata": a["iata"] or None,
        "name": a["name"],
        "city": a["city"] or None,
        "country_id": _id("country", a["country"]),
        "latitude": str(a["lat"]),
        "longitude": str(a["lon"]),
        "elevation": round(a["elevation"]),
        "time_zone": a["tz"],
    }


def flights(airports: Iterable[Mapping[str, Any]], day: datetime) -> Iterable[dict[str, Any]]:
    """Invented, and the same for the same day."""
    chance = random.Random(20260905)
    known = [a["icao"] for a in airports if a["iata"]]
    for n in range(FLIGHTS):
        origin, destination = chance.sample(known, 2)
        departs = day + timedelta(minutes=5 * n)
        number = f"{chance.choice(AIRLINES)}{chance.randint(100, 9999)}"
        yield {
            "id": _id("flight", f"{n}"),
            "number": number,
            "origin_id": _id("airport", origin),
            "destination_id": _id("airport", destination),
            "gate": f"{chance.choice('ABCD')}{chance.randint(1, 40)}",
            "departs_at": departs.isoformat(),
            "arrives_at": (departs + timedelta(minutes=chance.randint(45, 900))).isoformat(),
        }


def _country_names() -> dict[str, str]:
    table = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    return UNLISTED | {line[0]: line[1] for line in lines}


def _id(kind: str, name: str) -> str:
    return str(uuid5(uuid5(NAMESPACE_URL, f"departures/{kind}"), name))


def flight_id(n: int) -> UUID:
    """The id of the n-th invented flight, from 0."""
    return UUID(_id("flight", str(n)))


def _write(path: Path, items: Iterable[Mapping[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    return path
