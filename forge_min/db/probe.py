"""Finds out why statements get no response: the server is silent, or a standby is missing.

A server that hangs keeps TCP alive, and PostgreSQL waits for a synchronous standby without a limit
of time. So the server is asked on a second connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from . import servers
from .connection import Connection
from .servers import SQL, Address, Standbys
from .translate import NoResponse

_TIMEOUT = 2  # seconds for a connection and for each response
_PAUSE = 1.0  # seconds between two probes
_PATIENCE = 5.0  # seconds for which probes see the same commit wait for a standby
_log = logging.getLogger("forge_min.db")


class Probe:
    """Asks the servers of one database, on a thread of its own while it is needed.

    url: address of the database.
    direct_url: address past a pooler; `url` without one. A pooler that waits for a free session
        of the server is as silent as a server that hangs.
    standbys: set when a commit has waited for a standby for longer than _PATIENCE, until one has
        returned.
    """

    def __init__(self, url: str, direct_url: str, standbys: Standbys) -> None:
        self._url = direct_url
        self._is_pooled = direct_url != url
        self._standbys = standbys
        self._thread: threading.Thread | None = None
        self._due = 0.0
        # For each server the waiting sessions: pid, start of the transaction → first seen.
        self._waiting: dict[Address, dict[tuple[Any, ...], float]] = {}

    def start(self, conns: Sequence[Connection], silent: Sequence[Connection]) -> None:
        """Ask the servers, unless a probe runs or ran just now. Called by one thread.

        conns: all open connections.
        silent: those that wait for a response.
        """
        is_running = self._thread is not None and self._thread.is_alive()
        if is_running or time.monotonic() < self._due:
            return
        addresses = {conn.address for conn in silent or conns}
        self._thread = threading.Thread(
            target=self._ask_all, args=(addresses, conns), name="db-probe", daemon=True
        )
        self._thread.start()

    def _ask_all(self, addresses: set[Address], conns: Sequence[Connection]) -> None:
        for address in addresses:
            try:
                self._ask(address)
            except (psycopg.errors.ConnectionTimeout, NoResponse):
                _log.error("the server at %s:%s is silent: closing its connections", *address)
                servers.has_failed(address)
                for conn in conns:
                    if conn.address == address:
                        conn.last_used = 0.0  # checked before its next statement
                        conn.shut_down()
            except psycopg.Error as err:  # it responds, but refuses the connection
                _log.warning("the server at %s:%s refuses a probe: %s", *address, err)
        self._due = time.monotonic() + _PAUSE

    def _ask(self, address: Address) -> None:
        """Ask the server at, or behind, the address whether it responds and commits wait."""
        url = make_conninfo(self._url, connect_timeout=_TIMEOUT)
        if not self._is_pooled:
            url = make_conninfo(
                url,
                host=address.host,
                hostaddr="",  # that of all servers does not fit one host
                port=address.port,
                target_session_attrs="any",
            )
        with closing(Connection.connect(url, autocommit=True)) as probe:
            probe.patience = _TIMEOUT
            self._end_waiting(address, probe)
            if self._standbys.are_missing:
                self._report(missing=not self._can_commit(probe))

    def _end_waiting(self, address: Address, probe: Connection) -> None:
        """End the sessions whose commit has waited for a standby during all of _PATIENCE."""
        now = time.monotonic()
        seen = self._waiting.get(address, {})
        waiting = {session: seen.get(session, now) for session in probe.execute(SQL["waiting"])}
        self._waiting[address] = waiting
        for session, since in waiting.items():
            if now - since >= _PATIENCE:
                ended = probe.execute(SQL["end_waiting"], session).fetchall()
                if ended:
                    self._report(missing=True)

    def _can_commit(self, probe: Connection) -> bool:
        """Return whether a commit is confirmed by a standby in time."""
        try:
            probe.execute(SQL["commit"])
        except NoResponse:
            return False
        return True

    def _report(self, *, missing: bool) -> None:
        if missing == self._standbys.are_missing:
            return
        self._standbys.are_missing = missing
        if missing:
            _log.error("commits wait for a synchronous standby: writes are refused")
        else:
            _log.warning("a synchronous standby has returned: writes are accepted again")
