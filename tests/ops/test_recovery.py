"""A site after its database was away: what is ready answers every request."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from forge_min import db
from forge_min.db import EmbeddedServer

from artifact_runner import Process, Site, free_port
from round_trips import CountingProxy, counting_proxy

pytestmark = [pytest.mark.db, pytest.mark.thorough]

CLIENTS, REQUESTS = 8, 1_000
AIRPORTS = "/api/v1/airports"


class Away:
    """A database of the test's own behind a proxy, and the site that uses it."""

    def __init__(self, server: EmbeddedServer, proxy: CountingProxy, site: Site) -> None:
        self.server, self.proxy, self.site = server, proxy, site
        self.process: Process
        self._numbers = count(1)

    def serve(self, **environ: str) -> None:
        """Migrated, with a country."""
        self.site.environ |= environ
        self.process = self.site.serve()
        row = {"code": "DE", "name": "Germany"}
        self.country = self.site.create("countries", row)["id"]

    def ask(self, _: object) -> tuple[str, int]:
        """One request, a GET or a POST in turns."""
        number = next(self._numbers)
        if number % 2:
            return "GET", self.site.ask("GET", AIRPORTS + "?limit=2")[0]
        row = {"icao": f"{number:04X}", "name": "A", "country_id": self.country}
        row |= {"latitude": "1", "longitude": "2"}
        return "POST", self.site.ask("POST", AIRPORTS, row)[0]

    def all_succeed(self) -> None:
        """A thousand requests once the site is ready."""
        until = time.monotonic() + 60
        while self.site.status(self.site.admin, "/readyz") != 200:
            assert time.monotonic() < until, self.process.log
        with ThreadPoolExecutor(CLIENTS) as pool:
            seen = Counter(pool.map(self.ask, range(REQUESTS)))
        assert set(seen) == {("GET", 200), ("POST", 201)}, (seen, self.process.log[-3000:])


@pytest.fixture
def away(artifact: Path, tmp_path: Path) -> Iterator[Away]:
    settings = {"fsync": "off"}
    with EmbeddedServer(tmp_path / "pg", port=free_port(), settings=settings) as server:
        with counting_proxy(server.app_url) as proxy:
            site = Site(artifact, None, tmp_path)
            site.environ |= {
                "FORGE_DATABASE_URL": proxy.url,
                "FORGE_DATABASE_MIGRATE_URL": server.owner_url,
                "FORGE_DATABASE_STATEMENT_TIMEOUT": "1s",
            }
            try:
                yield Away(server, proxy, site)
            finally:
                site.stop()


def restart(away: Away) -> None:
    away.server.stop()
    away.server.start()


def restart_immediately(away: Away) -> None:
    """As `pg_ctl restart -m immediate`."""
    data = str(away.server.data / "pg").encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if data in command and command[0].endswith(b"postgres"):
            os.kill(int(path.parent.name), signal.SIGQUIT)
    until = time.monotonic() + 30
    while away.server.running:
        assert time.monotonic() < until
        time.sleep(0.02)
    away.server.start()


def terminate(away: Away) -> None:
    with db.connect(away.server.admin_url) as conn:
        conn.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


FAULTS: list[Callable[[Away], None]] = [
    restart, restart_immediately, terminate,
    lambda away: away.proxy.drop(), lambda away: away.proxy.freeze(),
]  # fmt: skip


def test_after_ready_no_request_fails_whatever_happened_to_the_database(away: Away) -> None:
    away.serve()
    for fault in FAULTS:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(away.ask, range(4 * CLIENTS)))  # each thread has a connection
        fault(away)
        away.all_succeed()


def test_the_same_through_a_pooler(away: Away, pooled: Callable[..., str]) -> None:
    url = pooled(away.proxy.url)
    away.serve(FORGE_DATABASE_URL=url, FORGE_DATABASE_DIRECT_URL=away.proxy.url)
    for fault in FAULTS:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(away.ask, range(4 * CLIENTS)))
        fault(away)
        away.all_succeed()
