"""The servers of an address: which is tried first, and which must not be used any more.

A standby that is promoted begins a new timeline of the cluster (PostgreSQL manual, section 25.3.5).
Writes on a server of an older timeline would be lost, so this process refuses such a server once it
has seen a newer timeline. This is shared by all connections of the process, and so is the time of
the primary.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

from ..errors import Unavailable
from ..sql_files import load_sql

SQL = load_sql("forge_min.db", "servers.sql")
_lock = threading.Lock()  # LOCK: guards _newest and _ahead
_newest: dict[str, str] = {}  # system identifier of a cluster → its newest timeline, hexadecimal
_ahead = 0.0  # seconds by which the clock of the primary is ahead of the clock of this host
_worked: dict[Address, float] = {}  # time of the last success, by time.monotonic(); -1: it failed


class Address(NamedTuple):
    """The address of one server."""

    host: str
    port: str


class Standbys:
    """Whether writes wait for a synchronous standby; shared by the connections of a database."""

    are_missing = False


def in_order(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a connection with several hosts in the order in which to try them.

    The server that was used last is first, one that did not respond is last.
    """
    columns = {}
    for name in ("host", "hostaddr", "port"):
        if options.get(name):
            columns[name] = str(options[name]).split(",")
    count = max(map(len, columns.values()), default=1)
    if count == 1:
        return dict(options)
    for name, column in columns.items():
        if len(column) == 1:
            columns[name] = column * count
    hosts = columns.get("host") or columns["hostaddr"]
    ports = columns.get("port") or ["5432"] * count
    addresses = list(map(Address, hosts, ports))
    order = sorted(range(count), key=lambda index: -_worked.get(addresses[index], 0.0))
    result = dict(options)
    for name, column in columns.items():
        result[name] = ",".join(column[index] for index in order)
    return result


def has_worked(address: Address) -> None:
    """Try this server first from now on."""
    _worked[address] = time.monotonic()


def has_failed(address: Address) -> None:
    """Try this server last from now on."""
    _worked[address] = -1.0


def timeline_of(conn: psycopg.Connection[Any], address: Address) -> tuple[str, str]:
    """Return the cluster and the timeline of a new connection, "" on a standby.

    The time of the primary is adjusted as little as its response requires. So it follows the clock
    of this host exactly, unless the two differ by more than the time that a response takes.

    Raises Unavailable F416 for a server of an older timeline than another one that was used.
    """
    global _ahead
    sent = time.time()
    ((cluster, timeline, clock),) = conn.execute(SQL["identify"]).fetchall()
    if timeline is None:
        return cluster, ""
    with _lock:
        _ahead = min(max(_ahead, clock - time.time()), clock - sent)
        newest = max(timeline, _newest.get(cluster, ""))
        _newest[cluster] = newest
    if timeline < newest:
        has_failed(address)
        message = f"the server at {address.host}:{address.port} was replaced by another one"
        raise Unavailable(message, code="F416", hint="end it, or let it follow the new primary")
    return cluster, timeline


def primary_time() -> float:
    """Return the time of the primary, in seconds since 1970; before a connection, of this host."""
    return time.time() + _ahead


def is_outdated(cluster: str, timeline: str) -> bool:
    """Return whether a newer timeline of the cluster is known."""
    return timeline < _newest.get(cluster, "") and timeline != ""
