"""A site whose primary is killed, switched over and frozen: no write, no job, no event is lost."""

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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forge_min import db
from forge_min.errors import Unavailable

from artifact_runner import Site, free_port
from cluster import Cluster, cluster

pytestmark = pytest.mark.failover

WRITERS = 6
SOON = 1.5  # seconds between a 200 of /readyz and a write that the same process has acknowledged
# Rows whose job is not completed, or without its effect. The first row has no other near it.
WITHOUT_JOB = """
select a.name, j.state, j.attempt, j.errors from airports a
left join forge_job j on j.args ->> 'id' = a.id::text
where j.state is distinct from 'completed' or (a.nearest_id is null and a.icao <> '0000')
"""


def airport(name: str, country: str, number: int) -> dict[str, str]:
    """Values of a row."""
    place = {"latitude": str(number % 170 - 85), "longitude": str(number % 359 - 179)}
    return {"icao": f"{number:04X}", "name": name, "country_id": country, **place}


class Process(NamedTuple):
    """Responses of the serving process at this port. Times are of time.monotonic()."""

    port: int
    ready: list[tuple[float, int]]  # with the status of /readyz
    saved: list[float]  # acknowledgements of writes that were sent to it

    def is_ready_after(self, moment: float) -> bool:
        """Whether the last response, after this moment, is 200."""
        at, status = self.ready[-1]
        return at > moment and status == 200

    def gaps(self) -> list[float]:
        """For each 200 of /readyz, the seconds to the nearest write that it acknowledged."""
        good = [at for at, status in self.ready if status == 200]
        return [min(abs(at - each) for each in self.saved) for at in good]


class Traffic:
    """Six writers, a client with a live list, and probes of each process.

    ports: of the serving processes. The writers use these, and the load balancer at `balanced`.

    known: the client's list, row → version, as its last load has it.
    seen: (row, version) of its events.
    """

    def __init__(self, site: Site, country: str, ports: Sequence[int], balanced: int) -> None:
        self._site, self._country = site, country
        self.processes = [Process(port, [], []) for port in ports]
        self._ending, self._closed = threading.Event(), threading.Event()
        self._numbers = count(1)
        self.saved: dict[str, str] = {}  # acknowledged: name → id
        self.times: list[float] = []  # of acknowledgements
        self.outcomes: Counter[str] = Counter()
        self.seen: set[tuple[str, int]] = set()
        self.known: dict[str, int] = {}
        self.refreshes: Counter[str] = Counter()
        self._pool, self._loader = ThreadPoolExecutor(32), ThreadPoolExecutor(1)
        targets: list[tuple[Any, ...]] = [(self._write, port) for port in [*ports, balanced] * 2]
        targets += [(self._probe, process) for process in self.processes]
        threads = [threading.Thread(target=t, args=a, daemon=True) for t, *a in targets]
        self._threads = [*threads, threading.Thread(target=self._listen, daemon=True)]
        assert len(targets) - len(ports) == WRITERS
        for thread in self._threads:
            thread.start()

    def stop_writing(self) -> None:
        """The client listens until `close`."""
        self._ending.set()
        for thread in self._threads[:-1]:
            thread.join(60)
        self._pool.shutdown()

    def close(self) -> None:
        self._ending.set()
        self._closed.set()
        self._loader.shutdown()

    def first_after(self, moment: float) -> float:
        """Seconds from a moment to the first acknowledgement after it."""
        return min((at for at in self.times if at > moment), default=moment + 1e9) - moment

    def missed(self, rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Versions of these rows that no event and no load after a refresh has shown."""
        return [
            (row, version)
            for row, last in rows
            for version in range(1, last + 1)
            if (row, version) not in self.seen and self.known.get(row, 0) < version
        ]

    def _write(self, port: int) -> None:
        while not self._ending.is_set():
            number = next(self._numbers)
            name = f"airport {number}"
            row = airport(name, self._country, number)
            while not self._ending.is_set():  # the same key until it is known
                with suppress(OSError, http.client.HTTPException):
                    status, headers, body = self._site.ask(
                        "POST",
                        "/api/v1/airports",
                        row,
                        port=port,
                        Idempotency_Key=f"airport-{number}",
                    )
                    answer = json.loads(body) if "json" in headers["content-type"] else {}
                    self.outcomes[answer.get("code") or str(status)] += 1
                    assert status in (201, 409, 429, 503), body
                    if status == 201:
                        self.saved[name] = answer["id"]
                        self.times.append(time.monotonic())
                        break
                time.sleep(0.1)
            time.sleep(0.1)

    def _listen(self) -> None:
        last = ""
        while not self._closed.is_set():
            with suppress(OSError, http.client.HTTPException):
                conn = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=30)
                headers = {"Last-Event-ID": last} if last else {}
                conn.request("GET", "/events?topic=airports&format=json", headers=headers)
                answer = conn.getresponse()
                kind = ""
                if answer.status == 200 and not last:
                    self._loader.submit(self._load)
                for line in answer:
                    name, _, value = line.decode().strip().partition(": ")
                    if name == "id":
                        last = value
                    elif name == "event":
                        kind = value
                    elif name == "data" and kind.startswith("airport."):
                        data = json.loads(value)
                        self.seen.add((data["id"], data["version"]))
                    elif name == "data" and kind == "refresh":
                        self.refreshes[json.loads(value)["reason"]] += 1
                        self._loader.submit(self._load)
            time.sleep(0.1)

    def _load(self) -> None:
        """The whole list, as a page loads it after a refresh."""
        rows: dict[str, int] = {}
        cursor: str | None = ""
        while cursor is not None and not self._closed.is_set():
            path = "/api/v1/airports?limit=100" + f"&cursor={cursor}" * bool(cursor)
            with suppress(OSError, http.client.HTTPException):
                status, _, body = self._site.ask("GET", path)
                if status == 200:
                    page = json.loads(body)
                    rows |= {row["id"]: row["version"] for row in page["data"]}
                    cursor = page["pagination"]["next"]
                    continue
            time.sleep(0.05)
        self.known = rows

    def _probe(self, process: Process) -> None:
        """Ask for the readiness, and after each 200 try to write."""
        while not self._ending.wait(0.2):
            status = self._site.status(process.port, "/readyz")
            process.ready.append((time.monotonic(), status))
            if status == 200:
                self._pool.submit(self._try, process, len(process.ready))

    def _try(self, process: Process, number: int) -> None:
        path, row = f"/api/v1/countries/{self._country}", {"name": f"{process.port} {number}"}
        if self._site.ask("PATCH", path, row, port=process.port)[0] == 200:
            process.saved.append(time.monotonic())


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
    servers: Cluster,
    site: Site,
    balancer: tuple[int, int],
    request: pytest.FixtureRequest,
) -> None:
    balanced, second = balancer
    site.environ["FORGE_SSE_BUFFER_SIZE"] = "10000"  # no refresh of an overflow hides a loss
    process = site.serve()
    other = site.start("serve", FORGE_SERVER_PORT=str(second), FORGE_ADMIN_PORT="0")
    worker = site.start("worker", FORGE_ADMIN_PORT="0")
    other.wait_for(lambda: site.status(second, "/readyz") == 200, "ready")
    country = site.create("countries", {"code": "DE", "name": "Germany"})["id"]
    site.create("airports", airport("first", country, 0))
    traffic = Traffic(site, country, [site.port, second], balanced)
    request.addfinalizer(traffic.close)
    servers.wait(lambda: len(traffic.saved) > 50, "writes")
    started = time.monotonic()

    def note(what: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s", what)

    def await_recovery(what: str, promoted: float) -> None:
        """A write succeeds, and each process is ready."""
        servers.wait(lambda: traffic.first_after(promoted) < 60, "first write")
        note(f"{what}: first write {traffic.first_after(promoted):.2f} s after the promotion")
        servers.wait(lambda: all(p.is_ready_after(promoted) for p in traffic.processes), "ready")
        note("ready")

    def check_events() -> None:
        """Each event of a row that is kept was seen, or a refresh came after it."""
        with db.connect(servers.url("app", "departures")) as conn:
            rows = conn.execute("select id::text, version from airports").fetchall()
        end = time.monotonic() + 15
        while missed := traffic.missed(rows):
            assert time.monotonic() < end, missed
            time.sleep(0.1)

    def check_outage(since: float, until: float) -> None:
        for each in traffic.processes:
            outage = {status for at, status in each.ready if since + 5 < at < until}
            assert outage == {503}, "ready without a database"

    # Killed.
    old = servers.primary()
    (new,) = servers.ports.keys() - {old}
    began = time.monotonic()
    servers.signal(old, signal.SIGKILL)
    servers.wait(lambda: servers.is_primary(new), "promotion")
    promoted = time.monotonic()
    await_recovery("killed", promoted)
    check_outage(began, promoted - 1)
    servers.start(old)
    assert servers.primary() == new

    # Switched over.
    check_events()
    note("switchover")
    servers.switch_over()
    servers.wait(lambda: servers.is_primary(old), "switchover")
    switched = time.monotonic()
    await_recovery("switched over", switched)
    assert servers.primary() == old

    # Frozen: it keeps its connections, and thaws as a second primary.
    check_events()
    note("freeze")
    began = time.monotonic()
    servers.signal(old, signal.SIGSTOP)
    servers.wait(lambda: servers.is_primary(new), "promotion")
    promoted = time.monotonic()
    await_recovery("frozen", promoted)
    check_outage(began, promoted - 1)
    with db.connect(servers.url("app", "departures")) as conn:
        assert db.run(conn, "select 1") == [(1,)]
    servers.signal(old, signal.SIGCONT)
    former = servers.url("app", "departures", old) + "&connect_timeout=2"
    with suppress(Unavailable), db.connect(former):
        raise AssertionError("the former primary is used")
    thawed = time.monotonic()
    servers.wait(lambda: all(p.is_ready_after(thawed + 2) for p in traffic.processes), "ready")
    traffic.stop_writing()
    note("stopped")

    # No acknowledged write is lost, and none is there twice.
    assert len(traffic.saved) > 100, traffic.outcomes
    with db.connect(servers.url("app", "departures")) as conn:
        names = Counter(name for (name,) in conn.execute("select name from airports").fetchall())
        lost = traffic.saved.keys() - names.keys()
        assert not lost and max(names.values()) == 1, (lost, traffic.outcomes)

        # No job is lost, and each has run on the data that there is now.
        servers.wait(lambda: not conn.execute(WITHOUT_JOB).fetchall(), "jobs")
        note("jobs")
        jobs = conn.execute("select count(*), count(distinct worker_id) from forge_job").fetchall()
        assert jobs == [(len(names), 3)], "a job without its row, or a worker without a job"
        repeated = "select count(*) from forge_job where attempt > 1 or errors <> '[]'"
        print("repeated jobs:", conn.execute(repeated).fetchall()[0][0])
    check_events()
    assert traffic.seen and all(each.popen.poll() is None for each in (process, other, worker))

    # A process that is ready can write.
    for each in traffic.processes:
        gaps = each.gaps()
        note(f"{len(gaps)} of {len(each.ready)} ready; writes were at most {max(gaps):.2f} s away")
        assert max(gaps) < SOON
    print(traffic.outcomes, traffic.refreshes)
    assert traffic.refreshes.keys() <= {"reconnect", "resume"}
