"""A site whose primary is killed, switched over and frozen: no acknowledged write is lost."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import pytest
from forge_min import db
from forge_min.errors import Unavailable

from artifact_runner import Site, free_port
from cluster import Cluster, cluster

pytestmark = pytest.mark.failover

WRITERS = 6


class Traffic:
    """Six writers, a reader of events and a probe of the readiness, until `stop`.

    balanced: the port of a load balancer, to which half of the writes go.
    """

    def __init__(self, site: Site, country: str, balanced: int) -> None:
        self._site, self._country, self._balanced = site, country, balanced
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
                    port = self._balanced if number % 2 else 0
                    status, headers, body = self._site.ask(
                        "POST",
                        "/api/v1/airports",
                        row,
                        port=port,
                        Idempotency_Key=f"airport-{number}",
                    )
                    answer = json.loads(body) if "json" in headers["content-type"] else {}
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


def test_no_synchronous_standby_refuses_writes_and_nothing_else(deployed: Path) -> None:
    config = (deployed / "patroni" / "patroni.yml").read_text()
    with cluster(config, strict=True) as servers, ExitStack() as stack:
        url = servers.url("postgres", "postgres")
        with db.connect(url) as conn:
            conn.execute("create table writes (id int primary key)")
        database = db.Database(url, patience=35.0)
        stack.callback(database.close)
        saved: list[int] = []
        codes: Counter[str] = Counter()
        reads: list[float] = []
        ending, numbers = threading.Event(), count(1)

        def write() -> None:
            while not ending.wait(0.02):
                number = next(numbers)
                try:
                    db.run(database.connection(), "insert into writes values (%s)", [number])
                except Unavailable as err:
                    codes[err.code] += 1
                else:
                    saved.append(number)

        def read() -> None:
            while not ending.wait(0.02):
                began = time.monotonic()
                db.read(database.connection(), "select count(*) from writes")
                reads.append(time.monotonic() - began)

        def sessions() -> int:
            with db.connect(url, application_name="look") as conn:
                text = "select count(*) from pg_stat_activity where application_name = 'forge_min'"
                return int(conn.execute(text).fetchall()[0][0])

        pool = stack.enter_context(ThreadPoolExecutor(8))
        stack.callback(ending.set)
        done = [pool.submit(each) for each in [write] * 6 + [read] * 2]
        servers.wait(lambda: len(saved) > 50, "writes")
        (standby,) = servers.ports.keys() - {servers.primary()}
        before = sessions()
        servers.signal(standby, signal.SIGKILL)
        servers.wait(lambda: database.standbys.are_missing, "refusal")
        assert codes.keys() <= {"F409", "F419"}
        reads.clear()
        for _ in range(5):
            time.sleep(1)
            assert sessions() <= before + 1  # a probe comes and goes
        assert codes["F419"] > 50 and len(reads) > 100
        print("reads without a standby: p99", sorted(reads)[int(len(reads) * 0.99)])
        servers.start(standby)
        held = len(saved)
        servers.wait(lambda: len(saved) > held + 50, "writes again")
        ending.set()
        for each in done:
            each.result()
        with db.connect(url) as conn:
            kept = {row[0] for row in conn.execute("select id from writes").fetchall()}
        assert not set(saved) - kept


@pytest.fixture
def balancer(deployed: Path, site: Site, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The ports of haproxy, before this site and a second one, and of that."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no haproxy (Debian: haproxy)")
    port, second = free_port(), free_port()
    places = {"HOST_A": site.port, "HOST_B": second, "LISTEN": port}
    environ = os.environ | {name: f"127.0.0.1:{at}" for name, at in places.items()}
    command = [program, "-f", str(deployed / "haproxy" / "haproxy.cfg")]
    with (tmp_path / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        yield port, second
    finally:
        process.kill()
        process.wait()


def test_no_acknowledged_write_is_lost_whatever_happens_to_the_primary(
    servers: Cluster, site: Site, balancer: tuple[int, int]
) -> None:
    balanced, second = balancer
    process = site.serve()
    other = site.start("serve", FORGE_SERVER_PORT=str(second), FORGE_ADMIN_PORT="0")
    country = site.create("countries", {"code": "DE", "name": "Germany"})["id"]
    traffic = Traffic(site, country, balanced)
    time.sleep(3)

    # Killed.
    old = servers.primary()
    (new,) = servers.ports.keys() - {old}
    began = time.monotonic()
    servers.signal(old, signal.SIGKILL)
    servers.wait(lambda: servers.is_primary(new), "promotion")
    promoted = time.monotonic()
    servers.wait(lambda: traffic.first_after(promoted) < 60, "first write")
    print("killed: first write after the promotion", traffic.first_after(promoted))
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
    print("frozen: first write after the promotion", traffic.first_after(promoted))
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
    assert process.popen.poll() is None and other.popen.poll() is None
