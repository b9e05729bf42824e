"""A site whose primary is killed, switched over and frozen: no acknowledged write is lost."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest
from forge_min import db
from forge_min.errors import Unavailable

from artifact_runner import Site
from cluster import Cluster, cluster

pytestmark = pytest.mark.failover

WRITERS = 6


class Traffic:
    """Six writers, a reader of events and a probe of the readiness, until `stop`."""

    def __init__(self, site: Site, country: str) -> None:
        self._site, self._country = site, country
        self._ending = threading.Event()
        self._numbers = count(1)
        self.saved: dict[str, str] = {}  # acknowledged: name → id
        self.times: list[float] = []  # of acknowledgements
        self.outcomes: Counter[str] = Counter()
        self.events: set[str] = set()  # ids of rows
        self.refreshed = 0.0  # time of the last refresh
        self.ready: list[tuple[float, bool]] = []
        targets = [self._write] * WRITERS + [self._listen, self._probe]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def first_after(self, moment: float) -> float:
        """Seconds from a moment to the first acknowledgement after it."""
        return min((at for at in self.times if at > moment), default=moment + 1e9) - moment

    def _write(self) -> None:
        while not self._ending.is_set():
            number = next(self._numbers)
            name, row = f"airport {number}", {"icao": f"{number:04X}", "country_id": self._country}
            row |= {"name": name, "latitude": "1", "longitude": "2"}
            while not self._ending.is_set():  # the same key until it is known
                with suppress(OSError, http.client.HTTPException):
                    status, _, body = self._site.ask(
                        "POST", "/api/v1/airports", row, Idempotency_Key=f"airport-{number}"
                    )
                    answer = json.loads(body)
                    self.outcomes[answer.get("code") or str(status)] += 1
                    if status == 201:
                        self.saved[name] = answer["id"]
                        self.times.append(time.monotonic())
                        break
                time.sleep(0.1)
            time.sleep(0.05)

    def _listen(self) -> None:
        last = ""
        while not self._ending.is_set():
            with suppress(OSError, http.client.HTTPException):
                conn = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=5)
                headers = {"Last-Event-ID": last} if last else {}
                conn.request("GET", "/events?topic=airports&format=json", headers=headers)
                answer = conn.getresponse()
                if not last:
                    self.refreshed = time.monotonic()  # rows from before are not its matter
                while line := answer.readline():
                    text = line.decode().strip()
                    if text.startswith("id: "):
                        last = text.removeprefix("id: ")
                    elif text == "event: refresh":
                        self.refreshed = time.monotonic()
                    elif text.startswith("data: ") and '"id"' in text:
                        self.events.add(json.loads(text.removeprefix("data: ")).get("id", ""))
                    if self._ending.is_set():
                        break
                conn.close()
            time.sleep(0.1)

    def _probe(self) -> None:
        while not self._ending.is_set():
            status = self._site.status(self._site.admin, "/readyz")
            self.ready.append((time.monotonic(), status == 200))
            time.sleep(0.2)


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture
def site(servers: Cluster, artifact: Path, tmp_path: Path) -> Iterator[Site]:
    with psycopg.connect(servers.url("postgres", "postgres"), password="owner") as conn:
        conn.autocommit = True
        conn.execute("create role app login password 'app'")
        conn.execute("create database departures")
    owner = servers.url("postgres", "departures").replace(":postgres@", ":owner@")
    made = Site(artifact, None, tmp_path)
    made.environ |= {
        "FORGE_DATABASE_URL": servers.url("app", "departures"),
        "FORGE_DATABASE_MIGRATE_URL": owner,
        "FORGE_SERVER_THREADS": "8",
    }
    try:
        yield made
    finally:
        made.stop()


def test_no_acknowledged_write_is_lost_whatever_happens_to_the_primary(
    servers: Cluster, site: Site
) -> None:
    process = site.serve()
    country = site.create("countries", {"code": "DE", "name": "Germany"})["id"]
    traffic = Traffic(site, country)
    time.sleep(3)

    # Killed.
    old = servers.primary()
    (new,) = servers.ports.keys() - {old}
    began = time.monotonic()
    servers.signal(old, signal.SIGKILL)
    servers.wait(lambda: servers.is_primary(new), "promotion")
    promoted = time.monotonic()
    servers.wait(lambda: traffic.first_after(promoted) < 60, "first write")
    assert traffic.first_after(promoted) < 5.0  # measured: 0.2
    outage = [ready for at, ready in traffic.ready if began + 5 < at < promoted - 1]
    assert outage and not any(outage), "ready without a database"
    servers.start(old)
    assert servers.primary() == new

    # Switched over.
    servers.switch_over()
    servers.wait(lambda: servers.is_primary(old), "switchover")
    switched = time.monotonic()
    servers.wait(lambda: traffic.first_after(switched) < 60, "first write")
    assert servers.primary() == old

    # Frozen: it keeps its connections, and thaws as a second primary.
    servers.signal(old, signal.SIGSTOP)
    servers.wait(lambda: servers.is_primary(new), "promotion")
    promoted = time.monotonic()
    servers.wait(lambda: traffic.first_after(promoted) < 60, "first write")
    assert traffic.first_after(promoted) < 10.0  # measured: 1.3
    with db.connect(servers.url("app", "departures")) as conn:
        assert db.run(conn, "select 1") == [(1,)]
    servers.signal(old, signal.SIGCONT)
    with suppress(Unavailable), db.connect(servers.url("app", "departures", old)):
        raise AssertionError("the former primary is used")
    time.sleep(3)
    servers.wait(lambda: traffic.ready[-1][1], "readiness")
    traffic.stop()

    assert len(traffic.saved) > 100, traffic.outcomes
    with db.connect(servers.url("app", "departures")) as conn:
        names = Counter(name for (name,) in conn.execute("select name from airports").fetchall())
        lost = traffic.saved.keys() - names.keys()
        assert not lost and max(names.values()) == 1, (lost, traffic.outcomes)
        jobs = "select count(*) filter (where state <> 'completed'), count(*) from forge_job"
        end = time.monotonic() + 120
        while (row := conn.execute(jobs).fetchone()) and row[0]:
            assert time.monotonic() < end, conn.execute(
                "select state, attempt, errors from forge_job where state <> 'completed' limit 3"
            ).fetchall()
            time.sleep(0.5)
        assert row is not None and row[1] == len(names), "a row without its job"
    missed = {traffic.saved[name] for name in traffic.saved} - traffic.events
    assert not missed or traffic.refreshed > switched, missed
    assert process.popen.poll() is None
