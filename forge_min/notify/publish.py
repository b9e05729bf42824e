"""Writing to the event log, inside the caller's transaction. Nothing here opens, commits or
retries.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from .. import db
from .hub import Event

SQL = db.load_sql("forge_min.notify", "events.sql")
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def publish_tx(conn: psycopg.Connection[Any], event: Event) -> None:
    """Append `event`; it is delivered if and when the caller's transaction commits.

    Raises the errors of `db.translate`.
    """
    with db.errors_translated():
        conn.execute(SQL["publish"], _params(event))
    db.nudge(conn, "e")


def event_fragment(
    source: str,
    *,
    topic_param: str = "event_topic",
    kind_param: str = "event_kind",
    changed_sql: str = "null::text[]",
    tenant_sql: str = "null::uuid",
) -> str:
    """The body of a CTE that appends one event for every row of the CTE `source`, which has id and
    version.

    topic_param, kind_param: names of psycopg placeholders that the caller fills. changed_sql,
    tenant_sql: SQL expressions over `source`, written by our own code. Raises ValueError for a
    name that is none.
    """
    for name in (source, topic_param, kind_param):
        if not NAME.fullmatch(name):
            raise ValueError(f"not a plain SQL name: {name!r}")
    return (
        "insert into forge_event (tenant_id, topic, kind, resource_id, version, changed)\n"
        f"select {tenant_sql}, %({topic_param})s::text, %({kind_param})s::text,"
        f" {source}.id::text, {source}.version, {changed_sql} from {source}"
    )


def _params(event: Event) -> dict[str, Any]:
    return {
        "tenant_id": event.tenant_id,
        "topic": event.topic,
        "kind": event.kind,
        "resource_id": event.resource_id,
        "version": event.version,
        "changed": list(event.changed) or None,
        "payload": None if event.payload is None else Jsonb(dict(event.payload)),
    }
