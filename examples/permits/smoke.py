"""The decisions of the example, by its API, and what `make run EXAMPLE=permits SMOKE=1` checks."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from threading import Thread
from typing import Any

from forge_min import db

import data

Keys = Mapping[str, str]  # user → API key


def ask(web: int, method: str, path: str, key: str = "", body: object = None) -> tuple[int, Any]:
    """Return status and body of a request to the API."""
    conn = http.client.HTTPConnection("127.0.0.1", web, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers["Content-Type"] = "application/json"
        text = None if body is None else json.dumps(body)
        conn.request(method, f"/api/v1/{path}", text, headers)
        response = conn.getresponse()
        read = response.read()
        return response.status, json.loads(read) if read else None
    finally:
        conn.close()


def decide(web: int, keys: Keys) -> None:
    """Submit most applications and decide on them: by the clerk and the officer of each office."""
    users = {"north": ("clara", "oleg"), "south": ("sven", "sven")}
    for office, (clerk, officer) in users.items():
        for id, steps in data.decisions(office):
            for role, name, reason in steps:
                key = keys[clerk if role == "clerk" else officer]
                body = {"reason": reason} if reason else None
                status, response = ask(web, "POST", f"applications/{id}/{name}", key, body)
                if status != 200:
                    raise SystemExit(f"{name}: {status} {response}")


def check(owner_url: str, web: int, keys: Keys) -> int:
    """Every claim of the example; 0 when all hold."""
    failed = 0

    def that(claim: str, good: bool, seen: object = "") -> None:
        nonlocal failed
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'}  {claim}{f': {seen}' if seen != '' else ''}")

    clerk, officer, both = keys["clara"], keys["oleg"], keys["olga"]
    _, page = ask(web, "GET", "applications?page=1&status=approved", clerk)
    that("approved applications", page["pagination"]["total"] > 50, page["pagination"]["total"])
    _, applicant = ask(web, "GET", "applicants?limit=1", both)
    _, application = ask(
        web,
        "POST",
        "applications",
        both,
        {
            "number": "smoke-1",
            "applicant_id": applicant["data"][0]["id"],
            "kind": "event",
            "subject": "Permit for a check",
            "begins_on": "2026-12-01",
            "ends_on": "2026-12-02",
        },
    )
    path = f"applications/{application['id']}"
    status, problem = ask(web, "POST", f"{path}/approve", officer)
    that("a draft cannot be approved", (status, problem["code"]) == (409, "F647"), status)
    that("it is submitted", ask(web, "POST", f"{path}/submit", both)[0] == 200)
    status, problem = ask(web, "POST", f"{path}/approve", both)
    that("its author cannot approve it", (status, problem["code"]) == (403, "F648"), status)
    that("a clerk cannot approve it", ask(web, "POST", f"{path}/approve", clerk)[0] == 403)
    that("another officer can", ask(web, "POST", f"{path}/approve", officer)[0] == 200)
    status, _ = ask(web, "POST", f"{path}/revoke", officer)
    that("it is not revoked without a reason", status == 422, status)
    that("another office does not see it", ask(web, "GET", path, keys["sven"])[0] == 404)
    status, slots = ask(web, "GET", "slots?officer.room=1.01&limit=1", clerk)
    that("slots by the room of their officer", status == 200 and len(slots["data"]) == 1, status)
    for name, key, expected in (
        ("per_month", clerk, 200),
        ("approved_per_kind", officer, 200),
        ("approved_per_kind", clerk, 403),
    ):
        status, report = ask(web, "GET", f"applications/-/reports/{name}", key)
        that(f"the report {name} is {expected}", status == expected, status)
    _, report = ask(web, "GET", "applications/-/aggregate?measure=count&status=approved", clerk)
    _, page = ask(web, "GET", "applications?page=1&status=approved", clerk)
    counted, total = next(iter(report.values()))[0]["count"], page["pagination"]["total"]
    that("an aggregate counts the rows of the list", counted == total, counted)
    _fill(that, owner_url, web, clerk, slots["data"][0]["id"])
    ask(web, "DELETE", path, officer)
    print("all checks held" if not failed else f"{failed} checks FAILED")
    return 1 if failed else 0


def _fill(that: Any, owner_url: str, web: int, key: str, slot: str) -> None:
    """Ten clerks try to get one of the two places of a slot."""
    _, page = ask(web, "GET", "applications?limit=10", key)
    statuses: list[int] = []

    def book(application: str) -> None:
        body = {"slot_id": slot, "application_id": application}
        statuses.append(ask(web, "POST", "appointments", key, body)[0])

    with db.connect(owner_url) as conn:
        conn.execute("delete from appointments where slot_id = %s", [slot])
        threads = [Thread(target=book, args=(row["id"],)) for row in page["data"]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = conn.execute("select count(*) from appointments where slot_id = %s", [slot])
        that("a slot with two places has two", found.fetchone() == (2,), sorted(statuses))
    that("the others get an error", sorted(statuses) == [201] * 2 + [422] * 8)
