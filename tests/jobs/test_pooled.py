"""Workers behind PgBouncer in transaction mode, and what a sleeping one asks of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from forge_min import db, jobs, notify
from forge_min.jobs import Job, NewJob

pytestmark = [pytest.mark.db, pytest.mark.slow]


@pytest.mark.parametrize("prepared", [0, 100])
def test_four_workers_behind_a_pooler_do_each_job_once(
    shop: Any, pooled: Callable[..., str], prepared: int
) -> None:
    url = pooled(shop.database.app_url, prepared)
    prepare = "auto" if prepared else "off"
    ran: list[int] = []

    def work(job: Job) -> None:
        with db.transaction(job.conn):
            job.conn.execute("select set_config('forge.test', 'x', true)")
            ran.append(job.args["n"])
            job.complete_tx(job.conn)

    workers = [
        jobs.Worker(
            lambda: db.connect(url, prepare=prepare), {"a": work}, queues={"default": 3},
            poll_interval=0.05, heartbeat=0.2,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        for worker in workers:
            worker.start()
        with db.connect(url, prepare=prepare) as conn:
            jobs.insert_many_tx(conn, [NewJob("a", {"n": n}) for n in range(300)])
            for n in range(300, 340):
                jobs.insert_tx(conn, "a", {"n": n}, unique=f"n{n}")
            jobs.control.limit(conn, "default", running=4)
        shop.settle(60)
        shop.wait_for(lambda: sum(worker._heartbeat.leading for worker in workers) == 1)
    finally:
        for worker in workers:
            worker.stop()
    assert (
        sorted(ran) == list(range(340)) and sum(worker._completer.stale for worker in workers) == 0
    )


def test_listening_past_a_pooler_wakes_a_worker_at_once(
    shop: Any, pooled: Callable[..., str]
) -> None:
    url = pooled(shop.database.app_url)
    nudger = notify.Nudger(shop.open)
    woken = threading.Event()
    worker = jobs.Worker(
        lambda: db.connect(url), {"a": lambda job: woken.set()}, queues={"default": 1},
        poll_interval=60.0, listen=shop.open,
    )  # fmt: skip
    nudger.start()
    worker.start()
    try:
        shop.wait_for(lambda: worker.ready[0] and worker._heartbeat.leading)
        time.sleep(0.5)  # so that what it finds is no find of its first look
        for _ in range(2):  # a NOTIFY within the transaction, and one of the nudger's
            with db.connect(url, nudger=nudger) as conn:
                jobs.insert_tx(conn, "a")
            assert woken.wait(20)
            woken.clear()
    finally:
        worker.stop()
        nudger.stop()


@pytest.mark.thorough
def test_a_sleeping_worker_asks_twice_a_second_also_beside_a_thousand_events(shop: Any) -> None:
    """Nudges for events wake no worker; those for another queue cost no query either.

    Counted over three heartbeats, with the work of the leader.
    """
    asked: list[tuple[str, float]] = []
    nudger = notify.Nudger(shop.open)

    def connect() -> db.Connection:
        return db.connect(shop.database.app_url, observe=observe)

    def observe(word: str, seconds: float) -> None:
        asked.append((word, time.monotonic()))

    worker = jobs.Worker(
        connect, {"a": lambda job: None}, queues={"default": 10}, listen=connect, nudger=nudger
    )
    conn = db.connect(shop.database.app_url, nudger=nudger)
    nudger.start()
    worker.start()
    try:
        shop.wait_for(lambda: worker._heartbeat.leading)
        conn.execute("select pg_sleep(1)")
        asked.clear()
        beats: list[int] = []  # only the heartbeat has a statement that begins with insert
        while len(beats) < 4:
            notify.publish_tx(conn, notify.Event("items", "item.created"))
            jobs.insert_tx(conn, "b", queue="other")
            threading.Event().wait(0.002)
            beats = [n for n, (word, _) in enumerate(asked) if word == "insert"]
        seconds = asked[beats[3]][1] - asked[beats[0]][1]
        assert beats[3] - beats[0] <= 2 * seconds, asked
    finally:
        worker.stop()
        nudger.stop()
        conn.close()
