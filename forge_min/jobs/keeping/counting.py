"""How many jobs there are, by queue and state: worked out by the leader now and then, kept in
forge_queue, so that nobody who asks reads the table.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg

from ... import db

SQL = db.load_sql("forge_min.jobs.keeping", "counting.sql")
MOST_COUNTED = 10_000  # jobs of a queue and state that are counted; of more the planner's guess


def count(conn: psycopg.Connection[Any], worker: UUID | None = None) -> None:
    """Count anew. worker: who leads; None = whoever asks, where nobody leads."""
    found, oldest = look(conn)
    params = {
        "names": list(found),
        "counts": [
            json.dumps(found[queue] | {"oldest": oldest.get(queue, 0.0)}) for queue in found
        ],
        "worker": worker,
    }
    db.run(conn, SQL["counted"], params)


def look(conn: psycopg.Connection[Any]) -> tuple[dict[str, dict[str, int]], dict[str, float]]:
    """queue → state → how many, and queue → seconds that its oldest job waits. Only reads."""
    found: dict[str, dict[str, int]] = {}
    oldest: dict[str, float] = {}
    for queue, state, number, age in db.run(conn, SQL["count"], {"most": MOST_COUNTED + 1}):
        if number > MOST_COUNTED:
            # The state and the queue are two conditions that the statistics know.
            params = {"queue": queue, "state": state}
            ((plan,),) = conn.execute(SQL["estimate"], params).fetchall()
            number = max(number, int(plan[0]["Plan"]["Plan Rows"]))
        found.setdefault(queue, {})[state] = number
        if age is not None:
            oldest[queue] = age
    return found, oldest


def count_if_old(conn: psycopg.Connection[Any]) -> None:
    """Count where no leader does, at most every few seconds."""
    ((old,),) = db.run(conn, SQL["old"])
    if old:
        count(conn)
