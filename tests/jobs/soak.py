"""`make soak`: workers that are started and killed at random, on a server that crashes too.

    python tests/jobs/soak.py [MINUTES]

Four processes work two kinds: "plain" writes its effect and returns, so a crash may repeat it;
"once" commits its effect with its completion. Meanwhile two writers insert, some in transactions
that are rolled back. At the end nothing may be lost, "once" may have one effect a job, and every
second effect of "plain" must be explained by an attempt that was recorded as failed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from forge_min import db, jobs
from forge_min.db import EmbeddedServer
from forge_min.errors import ForgeError
from forge_min.jobs import NewJob

WORKERS = 4
HITS = 20  # kills in the middle of an open transaction, at least

WORKER = """
import sys, time
from forge_min import db, jobs

url, name = sys.argv[1:]

def connect():
    return db.connect(url, application_name=name)

def plain(job):
    job.conn.execute("insert into done values (%s, %s, 'plain')", [job.id, job.claim])
    if job.args["n"] % 50 == 0 and job.attempt == 1:
        raise RuntimeError("every fiftieth fails once")
    if job.args["n"] % 50 == 1 and "snoozed" not in seen.setdefault(job.id, []):
        seen[job.id].append("snoozed")
        raise jobs.Snooze(0.1)

def once(job):
    with db.transaction(job.conn):
        job.conn.execute("insert into done values (%s, %s, 'once')", [job.id, job.claim])
        time.sleep(0.005)
        job.complete_tx(job.conn)

seen = {}
kinds = {"plain": jobs.Kind("plain", plain, retry=lambda job, error: 0.1),
         "once": jobs.Kind("once", once, retry=lambda job, error: 0.1)}
worker = jobs.Worker(connect, kinds, queues={"default": 6}, poll_interval=0.2, heartbeat=0.3,
                     rescue_after=2.0)
worker.start()
sys.stdin.read()
worker.stop()
"""


class Writer(threading.Thread):
    """Inserts until told to stop; knows what it has committed."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url, self.rng, self.stopping = url, random.Random(number), threading.Event()
        self.committed = 0
        self.unsure = 0  # in transactions whose commit got no answer

    def job(self, n: int) -> NewJob:
        """Of either kind, some due later."""
        kind, delay = self.rng.choice(["plain", "once"]), self.rng.choice([0.0, 0.0, 0.0, 0.5])
        return NewJob(kind, {"n": n}, delay=delay)

    def run(self) -> None:
        n = 0
        while not self.stopping.wait(self.rng.uniform(0.001, 0.02)):
            size = self.rng.choice([1, 1, 1, 20])
            try:
                with connected(self.url) as conn:
                    made = [self.job(n + k) for k in range(size)]
                    n += size
                    with db.transaction(conn):
                        if size == 1:
                            jobs.insert_tx(conn, made[0].kind, made[0].args, delay=made[0].delay)
                        else:
                            jobs.insert_many_tx(conn, made)
                        undone = self.rng.random() < 0.1
                        if undone:
                            raise psycopg.Rollback
                        self.unsure += size
                    if not undone:
                        self.unsure -= size
                        self.committed += size
            except (
                psycopg.Error,
                psycopg.Rollback,
                ForgeError,
            ):  # a rollback on a server that is gone
                time.sleep(0.1)


@contextmanager
def connected(url: str) -> Iterator[db.Connection]:
    conn = db.connect(url)
    try:
        yield conn
    finally:
        conn.close()


def main() -> int:
    """0 when every promise was kept."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rng = random.Random()
    with tempfile.TemporaryDirectory(prefix="forge-soak-") as folder:
        with EmbeddedServer(Path(folder) / "postgres") as server:
            url = server.owner_url
            with db.connect(url) as conn:
                for _ in db.migrate(conn, db.FORGE_MIGRATIONS):
                    pass
                conn.execute("create table done (job bigint, claim bigint, kind text)")
            return soak(server, minutes * 60, rng)


def soak(server: EmbeddedServer, seconds: float, rng: random.Random) -> int:
    """Kill and start for so long; then wait, and look."""
    url = server.owner_url
    writers = [Writer(url, number) for number in range(2)]
    for writer in writers:
        writer.start()
    names = [f"soak {n}" for n in range(WORKERS)]
    workers = {name: start(url, name) for name in names}
    kills = hits = crashes = ends = 0
    end, crash_at = time.monotonic() + seconds, time.monotonic() + 30
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.05, 0.6))
        name = rng.choice(names)
        if time.monotonic() > crash_at:
            crash_at = time.monotonic() + 30
            crashes += crash(server)
        elif rng.random() < 0.15:
            ends += 1
            workers[name].communicate("", timeout=60)
            workers[name] = start(url, name)
        else:
            kills += 1
            hits += kill(url, name, workers[name])
            workers[name] = start(url, name)
        if sys.stderr.isatty():
            print(f"\r{end - time.monotonic():.0f} s left", end="", file=sys.stderr)
    for writer in writers:
        writer.stopping.set()
    for writer in writers:
        writer.join(30)
    committed, unsure = (sum(getattr(w, n) for w in writers) for n in ("committed", "unsure"))
    with_end = settle(url)
    for worker in workers.values():
        worker.communicate("", timeout=60)
    print(f"{committed} jobs committed, {unsure} whose commit had no answer")
    print(f"{kills} kills, {hits} of them in an open transaction")
    print(f"{ends} stops, {crashes} crashes of the server")
    wrong = [*with_end, *check(url, committed, unsure)]
    if hits < HITS and seconds >= 120:
        wrong.append(f"only {hits} kills hit an open transaction: that shows little")
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


def start(url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, url, name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def kill(url: str, name: str, process: subprocess.Popen[str]) -> bool:
    """SIGKILL, if that can be in the middle of a transaction; whether it was."""
    hit = False
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            until = time.monotonic() + 2
            while not hit and time.monotonic() < until:
                hit = conn.execute(
                    "select from pg_stat_activity"
                    " where application_name = %s and backend_xid is not null", [name]
                ).rowcount > 0  # fmt: skip
    except psycopg.Error:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return hit


def crash(server: EmbeddedServer) -> bool:
    """Make the server restart itself, as it does when one of its processes is killed."""
    folder = str(server.data / "pg")
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = path.read_text().splitlines()
            parent = next(x.split()[1] for x in lines if x.startswith("PPid:"))
            main = (Path("/proc") / parent / "cmdline").read_bytes().decode()
            title = (path.parent / "cmdline").read_bytes().decode()
        except (OSError, StopIteration):
            continue
        if folder in main and title.startswith("postgres: ") and " app " in title:
            os.kill(int(path.parent.name), signal.SIGKILL)
            return True
    return False


def settle(url: str) -> list[str]:
    """Until every job has ended, or three minutes."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        try:
            with psycopg.connect(url, autocommit=True) as conn:
                row = conn.execute(
                    "select count(*) from forge_job"
                    " where state in ('available', 'scheduled', 'running', 'retryable')"
                ).fetchone()
                if row == (0,):
                    return []
        except psycopg.Error:
            pass
        time.sleep(0.3)
    return [f"{row[0] if row else '?'} jobs are stuck"]


def check(url: str, committed: int, unsure: int) -> list[str]:
    """What is not as promised."""
    wrong = []
    with psycopg.connect(url, autocommit=True) as conn:

        def one(query: str) -> int:
            row = conn.execute(query).fetchone()  # type: ignore[arg-type]
            return int(row[0]) if row else 0

        there = one("select count(*) from forge_job")
        if not committed <= there <= committed + unsure:
            wrong.append(
                f"{committed} jobs (and perhaps {unsure}) were committed, {there} are there"
            )
        for state in ("discarded", "cancelled"):
            if number := one(f"select count(*) from forge_job where state = '{state}'"):
                wrong.append(f"{number} jobs are {state}")
        if number := one("select count(*) from forge_job j where not exists"
                         " (select from done where job = j.id)"):  # fmt: skip
            wrong.append(f"{number} jobs are completed and had no effect")
        if number := one("select count(*) from (select from done where kind = 'once'"
                         " group by job having count(*) > 1) twice"):  # fmt: skip
            wrong.append(f"{number} jobs of `once` had two effects")
        twice = (
            "select count(*) from"
            " (select job, count(*) n from done where kind = 'plain' group by 1) d"
            " join forge_job j on j.id = d.job where n > 1"
        )
        # A snooze repeats the run and refunds the attempt; its jobs are told by their number.
        snoozes = " - case when (args ->> 'n')::int % 50 = 1 then 100 else 0 end"
        if number := one(f"{twice} and n - 1{snoozes} > jsonb_array_length(errors)"):
            wrong.append(f"{number} jobs had an effect that no recorded attempt explains")
        if number := one("select count(*) from forge_job where (args ->> 'n')::int % 50 > 1"
                         " and attempt <> 1 + jsonb_array_length(errors)"):  # fmt: skip
            wrong.append(f"{number} jobs have attempts that are not accounted for")
        print(f"{there} jobs, {one(twice)} of `plain` with an effect more than once, "
              f"{one('select coalesce(sum(attempt), 0) from forge_job')} attempts")  # fmt: skip
    return wrong


if __name__ == "__main__":
    sys.exit(main())
