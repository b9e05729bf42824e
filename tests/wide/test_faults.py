"""The database fails under the served wide schema: clients get their answer or a 503, and what was
answered is true.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from artifact_runner import Site
from forge_min import db
from forge_min.db import EmbeddedServer
from psycopg import sql
from wide_project import served

pytestmark = pytest.mark.db

CLASSES = "/api/v1/classes"


@pytest.fixture
def site(wide_artifact: Path, server: EmbeddedServer, tmp_path: Path) -> Iterator[Site]:
    with served(wide_artifact, server, tmp_path) as site:
        yield site


def answer(site: Site, method: str, path: str, body: object = None) -> int:
    """The status. A 503 says when to come back; nothing else that fails is a 5xx."""
    status, headers, text = site.ask(method, path, body)
    assert status < 500 or status == 503, text
    assert status != 503 or int(headers["retry-after"]) > 0
    return status


@pytest.mark.thorough
def test_terminated_backends_cost_503s_and_never_a_lie(site: Site) -> None:
    """Backends are terminated while eight clients read and write."""
    site.create("classes", {"code": "KEEP", "class": "kept"})
    stop = threading.Event()
    answered = threading.Semaphore(0)

    def kill() -> int:
        count = 0
        with db.connect(site.environ["FORGE_DATABASE_URL"]) as conn:
            while not stop.is_set():
                for _ in range(16):  # by requests, not by time, which a loaded machine stretches
                    answered.acquire()
                (killed,) = conn.execute(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                    " where usename = current_user and pid <> pg_backend_pid()"
                    " and datname = current_database()"
                ).fetchone() or (0,)
                count += killed
        return count

    def work(client: int) -> Counter[tuple[str, int]]:
        seen: Counter[tuple[str, int]] = Counter()
        for n in range(60):
            code = f"C{client}X{n}"
            seen["GET", answer(site, "GET", f"{CLASSES}/KEEP")] += 1
            status = answer(site, "POST", CLASSES, {"code": code, "class": code})
            seen["POST", status] += 1
            answered.release(2)
            if status == 201:
                created.add(code)
        return seen

    created: set[str] = set()
    with ThreadPoolExecutor() as pool:
        killer = pool.submit(kill)
        seen = sum(ThreadPoolExecutor(8).map(work, range(8)), Counter[tuple[str, int]]())
        stop.set()
        answered.release(16)
        killed = killer.result()
    assert killed >= 20, killed
    assert {status for _, status in seen} <= {200, 201, 503}, seen
    assert seen["GET", 200] > seen["GET", 503], seen  # a lost connection is tried once more
    with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as owner:
        rows = {code for (code,) in owner.execute("select code from classes").fetchall()}
    assert created <= rows and created
    until = time.monotonic() + 20
    while answer(site, "GET", f"{CLASSES}/KEEP") != 200:  # it recovers by itself
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.thorough
def test_serializable_writers_are_retried_and_never_lost(
    wide_artifact: Path, server: EmbeddedServer, tmp_path: Path
) -> None:
    with served(wide_artifact, server, tmp_path) as site:
        with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as owner:
            name = sql.Identifier(owner.info.dbname)
            change = "alter database {} set default_transaction_isolation = 'serializable'"
            owner.execute(sql.SQL(change).format(name))
        with db.connect(site.environ["FORGE_DATABASE_URL"]) as app:
            app.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user"
                " and pid <> pg_backend_pid() and datname = current_database()"
            )
            ((level,),) = app.execute("show transaction_isolation").fetchall()
            assert level == "serializable"
        row = {"code": "HOT", "class": "hot", "import": 0}
        while answer(site, "POST", CLASSES, row) == 503:
            pass

        def work(client: int) -> Counter[int]:
            path = f"{CLASSES}/HOT"
            bodies = [{"import": 1 + client * 1000 + n} for n in range(40)]
            return Counter(answer(site, "PATCH", path, body) for body in bodies)

        seen = sum(ThreadPoolExecutor(6).map(work, range(6)), Counter[int]())
        assert set(seen) <= {200, 503} and seen[200] > seen[503], seen
        status, _, text = site.ask("GET", f"{CLASSES}/HOT")
        with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as owner:
            ((version, events),) = owner.execute(
                "select version, (select count(*) from forge_event where topic = 'classes')"
                " from classes where code = 'HOT'"
            ).fetchall()
    assert status == 200 and version == events == 1 + seen[200], (seen, text)
