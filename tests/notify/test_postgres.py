"""The hub over the event log: late commits, lost connections, crashes, floods, polling,
retention.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from forge_min import db, notify
from forge_min.db.thread import FIRST_PAUSE
from forge_min.errors import Unavailable
from forge_min.notify import Event
from forge_min.notify.eventlog import SQL

from round_trips import counting_proxy

pytestmark = pytest.mark.db
PUBLISH = (
    "insert into forge_event (topic, kind, resource_id) select 'flights', 'flight.updated', n::text"
    " from generate_series(%s::int, %s::int) n"
)


def event(number: int) -> Event:
    return Event("flights", "flight.updated", resource_id=str(number), version=1)


def pids(conn: db.Connection, *like: str) -> list[int]:
    # One look: a backend whose statement changes between two is found by neither.
    rows = conn.execute(
        "select pid from pg_stat_activity where datname = current_database()"
        " and query ilike any(%s) and pid <> pg_backend_pid()",
        [[*like]],
    )
    return [row[0] for row in rows]


def listening(conn: db.Connection) -> list[int]:
    """The hub's backend: the only one that reads the log."""
    return pids(conn, "select e.topic%", "select pg_current_snapshot()%", "listen%")


def test_every_stream_hears_that_the_database_is_lost_and_that_it_is_back(
    factory: Any, kit: Any
) -> None:
    with counting_proxy(factory.database.app_url) as proxy:
        hub = notify.PostgresHub(
            lambda: db.connect(proxy.url), kit.begin(), poll_interval=0.1, heartbeat=0.3
        )
        factory.hubs.append(hub)
        hub.start()
        kit.wait_for(lambda: hub.ready[0])
        before = [kit.Listener(hub.subscribe(kit.key(topic=topic))[0]) for topic in ("a", "b")]
        with proxy.held():  # the server does not answer, and nobody is told
            for listener in before:
                listener.until(lambda me: me.states == ["reconnecting"])
            opened = hub.subscribe(kit.key())
            assert opened.first == b'event: status\ndata: {"state":"reconnecting"}\n\n'
            notify.publish_tx(factory.conn(), event(1))
        late = kit.Listener(opened.subscription)
        for listener in (*before, late):
            listener.until(lambda me: me.states[-1:] == ["live"])
        assert hub.subscribe(kit.key()).first == b""
        late.until(lambda me: me.heard == ["1"])


@pytest.mark.slow
def test_a_commit_reaches_the_subscriber_by_a_nudge_and_not_by_the_poll(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=60.0, heartbeat=60.0)
    conn = factory.conn(factory.nudger())
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    times = []
    for n in range(20):
        started = time.monotonic()
        hub.publish_tx(conn, event(n))
        listener.count(n + 1)
        times.append(time.monotonic() - started)
    assert listener.heard == [str(n) for n in range(20)]
    assert sorted(times)[10] < 30.0, "half a poll_interval"


@pytest.mark.slow
@pytest.mark.parametrize("listen", [True, False])
def test_commits_of_the_same_process_are_heard_without_the_server_and_read_once(
    factory: Any, kit: Any, listen: bool
) -> None:
    nudger = factory.nudger()
    hub = factory.hub(poll_interval=60.0, heartbeat=60.0, listen=listen, nudger=nudger)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    reads, read = [], hub._reader.read

    def counting(conn: db.Connection) -> Any:
        reads.append(found := read(conn))
        return found

    hub._reader.read = counting
    conn = factory.conn(nudger)
    for n in range(20):
        notify.publish_tx(conn, event(n))
        listener.count(n + 1)
        time.sleep(0.01)  # the notification of it arrives as well
    assert listener.heard == [str(n) for n in range(20)]
    assert len(reads) == 20, "each commit was read for more than once"
    notify.publish_tx(factory.conn(), event(20), wake="notify")  # somebody else's
    if listen:
        listener.count(21)
    hub.stop()
    nudger.nudge("e")  # nobody hears it, and nothing breaks


def test_one_notification_announces_the_commits_of_all_processes(factory: Any, kit: Any) -> None:
    nudgers = [factory.nudger() for _ in range(8)]  # of eight processes
    options = {"poll_interval": 60.0, "heartbeat": 60.0, "ring": 2048}
    hubs = [factory.hub(nudger=nudger, **options) for nudger in nudgers]
    listeners = [kit.Listener(hub.subscribe(kit.key())[0]) for hub in hubs]
    counted: list[object] = []
    counter = factory.conn()
    counter.add_notify_handler(counted.append)
    counter.execute("listen forge")
    began = time.monotonic()

    def commit(number: int) -> None:
        conn = factory.conn(nudgers[number])
        for n in range(100):
            notify.publish_tx(conn, event(1000 * number + n))
            time.sleep(0.01)

    with ThreadPoolExecutor() as pool:
        list(pool.map(commit, range(8)))
    seconds = time.monotonic() - began
    for listener in listeners:
        listener.count(800)
        assert listener.refreshes == 0
    counter.execute("")
    # Each process alone would send as many as are allowed for all of them: 100 per second.
    assert 10 < len(counted) < 250 * seconds


@pytest.mark.parametrize("last_sent", [100.0, 0.0], ids=["another clock", "never sent"])
def test_a_notification_of_another_clock_announces_no_later_commits(
    monkeypatch: pytest.MonkeyPatch, last_sent: float
) -> None:
    times = iter([101.0, 101.01])
    monkeypatch.setattr("forge_min.notify.listener.time.monotonic", lambda: next(times))
    nudger = notify.Nudger(None)
    nudger._clock = (last_sent, 5000.0)
    nudger.received("e", "another 5061.0")
    nudger.nudge("e")
    assert nudger._pending() == ["e"]


def test_a_connection_of_ones_own_may_wake_the_readers(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=60.0, heartbeat=60.0)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    with psycopg.connect(factory.database.app_url) as conn:
        notify.publish_tx(conn, event(1))
    time.sleep(0.2)
    assert listener.frames == []
    with psycopg.connect(factory.database.app_url) as conn:
        notify.publish_tx(conn, event(2), wake="notify")
    listener.until(lambda me: me.heard == ["1", "2"])


def test_without_listen_and_nudges_polling_delivers_everything(factory: Any, kit: Any) -> None:
    hub = factory.hub(listen=False, poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    for n in range(50):
        notify.publish_tx(conn, event(n))
    listener.count(50)
    assert sorted(map(int, listener.heard)) == list(range(50)) and listener.refreshes == 0
    assert listening(factory.owner()) == [] or not pids(factory.owner(), "listen%")


def test_a_late_commit_is_delivered_after_newer_ones_and_never_before_it_commits(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.02)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    late, quick = factory.conn(), factory.conn()
    late.execute("begin")
    notify.publish_tx(late, event(0))
    for n in range(1, 40):
        notify.publish_tx(quick, event(n))
    listener.count(39)
    assert "0" not in listener.heard
    late.execute("commit")
    listener.count(40)
    assert listener.heard[-1] == "0" and listener.refreshes == 0


def test_savepoints_that_are_rolled_back_take_their_events_with_them(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.02)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    conn.execute("begin")
    for n in range(6):
        conn.execute("savepoint s")
        notify.publish_tx(conn, event(n))
        conn.execute("rollback to savepoint s" if n % 2 else "release savepoint s")
    conn.execute("commit")
    listener.count(3)
    notify.publish_tx(conn, event(6))
    listener.count(4)
    assert listener.heard == ["0", "2", "4", "6"]


def test_many_writers_at_every_isolation_level_lose_and_repeat_nothing(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.01, ring=4096)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    levels = ["read committed", "repeatable read", "serializable"]

    def write(writer: int) -> list[str]:
        rng, conn, committed = random.Random(writer), db.connect(factory.database.app_url), []
        with conn:
            for n in range(80):
                name = str(writer * 1000 + n)
                conn.execute(f"begin isolation level {rng.choice(levels)}")
                notify.publish_tx(conn, event(int(name)))
                if rng.random() < 0.3:
                    conn.execute("select pg_sleep(0.005)")
                keep = rng.random() < 0.8
                conn.execute("commit" if keep else "rollback")
                committed += [name] if keep else []
        return committed

    with ThreadPoolExecutor(6) as pool:
        done = [n for part in pool.map(write, range(6)) for n in part]
    listener.count(len(done))
    marker = factory.conn()
    notify.publish_tx(marker, event(999_999))
    listener.until(lambda me: "999999" in me.heard)
    assert sorted([*done, "999999"]) == sorted(listener.heard)
    assert listener.refreshes == 0


def test_a_terminated_listener_reconnects_and_every_commit_arrives(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.05, ring=4096)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn, killer = factory.conn(factory.nudger()), factory.conn()
    killed: set[int] = set()
    for n in range(300):
        notify.publish_tx(conn, event(n))
        if n % 60 == 30:
            kit.wait_for(lambda: set(listening(killer)) - killed)
            for pid in set(listening(killer)) - killed:
                killer.execute("select pg_terminate_backend(%s)", [pid])
                killed.add(pid)
    listener.until(lambda me: len(set(me.heard)) == 300)
    assert hub.reconnects >= 3 and len(listener.heard) == 300 and listener.refreshes == 0


def test_the_hub_is_not_ready_while_it_has_no_connection(factory: Any, kit: Any) -> None:
    broken = threading.Event()

    def connect() -> db.Connection:
        if broken.is_set():
            raise db.translate(__import__("psycopg").OperationalError("gone"))
        return factory.open()

    hub = notify.PostgresHub(connect, kit.begin(), poll_interval=0.05)
    factory.hubs.append(hub)
    assert hub.ready == (False, "F452: the hub is not connected to the database")
    hub.start()
    kit.wait_for(lambda: hub.ready[0])
    broken.set()
    conn = factory.conn()
    for pid in listening(conn):
        conn.execute("select pg_terminate_backend(%s)", [pid])
    kit.wait_for(lambda: not hub.ready[0])
    assert hub.ready[1].startswith("F4")
    broken.clear()
    kit.wait_for(lambda: hub.ready[0])


def test_a_burst_of_more_than_ten_thousand_is_one_refresh(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.2)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    conn.execute(PUBLISH, [1, 10_001])
    listener.until(lambda me: me.refreshes == 1)
    notify.publish_tx(conn, event(0))
    listener.until(lambda me: me.heard == ["0"])
    assert listener.refreshes == 1


def test_a_burst_of_ten_thousand_is_delivered_or_counted(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.2, ring=16_384)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    factory.conn().execute(PUBLISH, [1, 10_000])
    listener.count(10_000)
    # On a busy machine an encoder may take too long now and then: that is a refresh of its own.
    assert len(listener.frames) == 10_000 and listener.refreshes < 100
    assert len(set(listener.heard)) == len(listener.heard)


def test_after_a_crash_of_the_server_everybody_is_refreshed_and_old_ids_are_worth_nothing(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    notify.publish_tx(conn, event(1))
    listener.count(1)
    factory.owner().execute("truncate forge_boot")  # what a crash does to an unlogged table
    listener.until(lambda me: me.refreshes == 1)
    notify.publish_tx(conn, event(2))
    listener.until(lambda me: "2" in me.heard)
    other = factory.hub(poll_interval=0.05)
    assert b'"resume"' in other.subscribe(kit.key(), listener.ids[0]).first
    opened = other.subscribe(kit.key(), listener.ids[1])
    assert b"|json" in opened.first and b"refresh" not in opened.first


def test_two_hubs_agree_on_one_token_after_a_crash(factory: Any, kit: Any) -> None:
    hubs = [factory.hub(poll_interval=0.02) for _ in range(3)]
    listeners = [kit.Listener(hub.subscribe(kit.key())[0]) for hub in hubs]
    factory.owner().execute("truncate forge_boot")
    for listener in listeners:
        listener.until(lambda me: me.refreshes >= 1)
    conn = factory.conn()
    notify.publish_tx(conn, event(1))
    for listener in listeners:
        listener.until(lambda me: me.heard == ["1"])
    assert conn.execute("select count(*) from forge_boot").fetchone() == (1,)


def test_events_of_another_cluster_are_deleted_and_never_delivered(factory: Any, kit: Any) -> None:
    owner = factory.owner()
    owner.execute(
        "insert into forge_event (xid, topic, kind, resource_id)"
        " values ('99999999999'::xid8, 'flights', 'flight.updated', 'foreign')"
    )
    owner.execute("insert into forge_boot (token) values ('123.00000001/dumped')")
    hub = factory.hub(poll_interval=0.02)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    notify.publish_tx(factory.conn(), event(1))
    listener.until(lambda me: "1" in me.heard)
    assert listener.heard == ["1"]
    found = owner.execute("select count(*) from forge_event where resource_id = 'foreign'")
    assert found.fetchone() == (0,)
    token = owner.execute("select token from forge_boot").fetchone()
    assert token is not None and not token[0].startswith("123.")


def test_a_reader_whose_position_lies_ahead_of_the_cluster_starts_again(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    hub._reader._snapshot = "1000000000000:1000000000000:"
    listener.until(lambda me: me.refreshes >= 1)
    notify.publish_tx(factory.conn(), event(1))
    listener.until(lambda me: me.heard == ["1"])


@pytest.mark.slow
def test_resuming_in_another_process_reads_the_log_and_repeats_rather_than_loses(
    factory: Any, kit: Any
) -> None:
    one, two = factory.hub(poll_interval=0.02), factory.hub(poll_interval=0.02)
    conn, late = factory.conn(), factory.conn()
    first = kit.Listener(one.subscribe(kit.key())[0])
    late.execute("begin")
    notify.publish_tx(late, event(100))
    for n in range(10):
        notify.publish_tx(conn, event(n))
        first.count(n + 1)
    late.execute("commit")
    first.count(11)
    refreshed = 0
    for place in range(11):
        opened = two.subscribe(kit.key(), first.ids[place])
        again = kit.Listener(
            opened.subscription, [f + b"\n\n" for f in opened.first.split(b"\n\n")]
        )
        wanted = set(first.heard[place + 1 :])
        assert wanted <= set(again.heard) or again.refreshes == 1
        refreshed += again.refreshes
        opened.subscription.close()
    assert refreshed <= 2, "a busy machine may be too slow for one, not for all"


@pytest.mark.slow
@pytest.mark.thorough
def test_resuming_from_before_the_deletion_is_a_refresh(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.02, retention=1.5, heartbeat=1.5)
    conn = factory.conn()
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    notify.publish_tx(conn, event(1))
    listener.count(1)

    def gone() -> bool:
        conn.execute("select pg_current_xact_id()")
        return conn.execute("select count(*) from forge_event").fetchone() == (0,)

    kit.wait_for(gone, 30)
    other = factory.hub(poll_interval=0.02)
    assert b'"resume"' in other.subscribe(kit.key(), listener.ids[0]).first


def test_resuming_from_before_the_window_is_a_refresh(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.02)
    conn = factory.conn()
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    notify.publish_tx(conn, event(1))
    listener.count(1)
    for window, reason in ((60.0, b"|json"), (0.0, b'"resume"')):
        other = factory.hub(poll_interval=0.02, resume_window=window)
        assert reason in other.subscribe(kit.key(), listener.ids[0]).first


def test_events_that_a_subscriber_missed_are_those_of_its_tenant(factory: Any, kit: Any) -> None:
    """They are read from the table, by a process that has not seen them."""
    mine, yours = uuid.uuid4(), uuid.uuid4()
    conn = factory.conn()
    listener = kit.Listener(factory.hub(poll_interval=0.02).subscribe(kit.key(tenant=mine))[0])
    notify.publish_tx(conn, replace(event(1), tenant_id=mine))
    listener.count(1)
    for n, tenant in ((7001, yours), (7002, None), (7003, mine)):
        notify.publish_tx(conn, replace(event(n), tenant_id=tenant))
    other = factory.hub(poll_interval=0.02)
    first = other.subscribe(kit.key(tenant=mine), listener.ids[0]).first
    found = {*re.findall(rb"data: (\d+)\|json", first)}
    assert b"7003" in found and not {b"7001", b"7002"} & found


@pytest.mark.slow
@pytest.mark.thorough
def test_retention_leaves_what_an_open_transaction_has_written(factory: Any, kit: Any) -> None:
    # Longer than a busy machine may stand still: a reader older than that is refreshed.
    hub = factory.hub(poll_interval=0.02, retention=1.5)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn, late = factory.conn(), factory.conn()
    late.execute("begin")
    notify.publish_tx(late, event(0))
    for n in range(1, 4):
        notify.publish_tx(conn, event(n))
    kit.wait_for(
        lambda: conn.execute("select cardinality(marks) from forge_boot").fetchone() == (8,)
    )
    assert conn.execute("select count(*) from forge_event").fetchone() == (3,)
    late.execute("commit")
    listener.count(4)
    assert "0" in listener.heard and listener.refreshes == 0


def test_a_reader_that_was_paused_past_the_retention_is_refreshed(factory: Any, kit: Any) -> None:
    hub = factory.hub(poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    known = hub._reader._snapshot
    conn = factory.conn()
    for n in range(5):
        notify.publish_tx(conn, event(n))
    listener.count(5)
    conn.execute("update forge_boot set deleted_before = pg_snapshot_xmin(pg_current_snapshot())")
    conn.execute("delete from forge_event")

    def refreshed(me: Any) -> bool:
        # As it was before it fell asleep; again, where it was reading at that very moment.
        if me.refreshes == 0:
            hub._reader._snapshot = known
        return me.refreshes >= 1

    listener.until(refreshed)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_reader_that_sleeps_longer_than_the_retention_is_refreshed(
    factory: Any, kit: Any
) -> None:
    sleeper = factory.hub(poll_interval=0.05, heartbeat=60.0)
    listener = kit.Listener(sleeper.subscribe(kit.key())[0])
    conn = factory.conn()
    (pid,) = {*listening(conn)}
    os.kill(pid, signal.SIGSTOP)
    try:
        factory.hub(poll_interval=0.05, retention=0.5)  # the one that deletes
        for n in range(20):
            notify.publish_tx(conn, event(n))

        def gone() -> bool:
            conn.execute("select pg_current_xact_id()")
            return conn.execute("select count(*) from forge_event").fetchone() == (0,)

        kit.wait_for(gone, 30)
    finally:
        os.kill(pid, signal.SIGCONT)
    listener.until(lambda me: me.refreshes >= 1 or len(me.heard) == 20)
    notify.publish_tx(conn, event(99))
    listener.until(lambda me: "99" in me.heard)
    assert listener.refreshes >= 1, "what was deleted was passed over in silence"


def test_a_batch_too_large_for_the_heartbeat_is_a_refresh_in_the_end(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = factory.hub(poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    read, asked = hub._reader.read, []

    def too_slow(conn: db.Connection) -> Any:
        if hub._reader._snapshot and len(asked) < 50:
            asked.append(hub._reader._snapshot)
            raise db.NoResponse("the server did not answer")
        return read(conn)

    monkeypatch.setattr(hub._reader, "read", too_slow)
    listener.until(lambda me: me.refreshes >= 1)
    assert len(asked) == 3 and len(set(asked)) == 1


def test_a_database_that_refuses_is_asked_again_with_pauses_that_grow(
    factory: Any, kit: Any
) -> None:
    attempts: list[float] = []

    def refuse() -> db.Connection:
        attempts.append(time.monotonic())
        raise Unavailable("not now")

    hub = notify.PostgresHub(refuse, kit.begin())
    factory.hubs.append(hub)
    hub.start()
    kit.wait_for(lambda: len(attempts) >= 6)
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert min(pauses) >= FIRST_PAUSE / 2, "more than 40 attempts a second"
    assert sum(pauses[3:]) > 2 * sum(pauses[:2]) and hub.reconnects >= 5
    assert len({round(pause / FIRST_PAUSE, 3) for pause in pauses}) == len(pauses), "no jitter"


def test_a_server_that_stops_answering_is_given_up_within_two_heartbeats(
    factory: Any, kit: Any
) -> None:
    hub = factory.hub(poll_interval=0.1, heartbeat=0.4)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn(factory.nudger())
    (pid,) = {*listening(conn)}
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        kit.wait_for(lambda: hub.reconnects >= 1)
        assert time.monotonic() - started < 30
        notify.publish_tx(conn, event(1))
        listener.until(lambda me: "1" in me.heard)
        assert listener.refreshes == 0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_nudger_coalesces_and_survives_a_lost_connection(factory: Any) -> None:
    nudger, conn = factory.nudger(), factory.conn()
    conn.execute("listen forge")
    for _ in range(2000):
        nudger.nudge("j:default")
    nudger.nudge("j:last")
    heard: list[str] = []

    def until(payload: str) -> None:
        for found in conn.notifies(timeout=15):
            heard.append(found.payload.partition("\n")[0])
            if heard[-1] == payload:
                return
        raise AssertionError(f"{payload} was not heard")

    until("j:last")
    assert heard.count("j:default") < 1000
    with db.connect(factory.database.app_url) as killer:
        for pid in pids(killer, "select set_config(%pg_notify%"):
            killer.execute("select pg_terminate_backend(%s)", [pid])
    nudger.nudge("j:mail")
    until("j:mail")


def test_row_event_and_nothing_else_in_one_statement(factory: Any, kit: Any) -> None:
    owner, conn = factory.owner(), factory.conn()
    owner.execute("create table things (id uuid primary key default forge_uuid7(), version bigint)")
    hub = factory.hub(poll_interval=0.02)
    listener = kit.Listener(hub.subscribe(kit.key(topic="things"))[0])
    body = notify.event_fragment("row", "things", "thing.created", changed_sql="array['name']")
    conn.execute(
        f"with row as (insert into things (version) values (1), (1) returning *), event as ({body})"
        " select * from row"
    )
    listener.count(2)
    rows = {str(r[0]) for r in conn.execute("select id from things")}
    assert set(listener.heard) == rows


@pytest.mark.parametrize("name", ["row; drop table x", "", "Row", "a" * 64, "%(x)s"])
def test_a_fragment_takes_plain_names_only(name: str) -> None:
    with pytest.raises(ValueError, match="plain SQL name"):
        notify.event_fragment(name, "things", "thing.created")


@pytest.mark.thorough
@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
def test_the_read_touches_few_buffers_beside_an_open_writer_and_many_events(
    factory: Any, kit: Any, plan: str
) -> None:
    hub = factory.hub(poll_interval=60.0, heartbeat=60.0)
    late, conn = factory.conn(), factory.conn()
    late.execute("begin")
    notify.publish_tx(late, event(0))
    conn.execute(PUBLISH, [1, 300_000])
    (snapshot,) = conn.execute("select pg_current_snapshot()::text").fetchone()
    assert snapshot.split(":")[2], "the open writer is in it"
    conn.execute("set enable_seqscan = off")
    conn.execute(f"set plan_cache_mode = {plan}")
    read = SQL["read"].replace("%(seen)s", "$1").replace("%(token)s", "$2")
    conn.execute(f"prepare read (pg_snapshot, text) as {read}")
    found = conn.execute(
        f"explain (analyze, buffers, format json) execute read ('{snapshot}', '')"
    ).fetchone()
    top = found[0][0]["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] <= 200
    assert hub.ready[0]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Lost connections are logged; here they are meant."""
    caplog.set_level("CRITICAL", "forge_min.notify")
    yield


def test_a_hot_standby_is_not_ready_and_a_promotion_refreshes_everybody(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = factory.hub(poll_interval=0.05)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    monkeypatch.setitem(SQL, "identify", "select true, null::text")

    def has_noticed() -> bool:
        """Between two of its statements a backend is not known by the last one, so again."""
        for pid in listening(conn):
            conn.execute("select pg_terminate_backend(%s)", [pid])
        return hub.ready[1].startswith("F451")

    kit.wait_for(has_noticed)
    monkeypatch.setitem(SQL, "identify", "select false, 'same.00000002'")
    listener.until(lambda me: me.refreshes == 1)
    kit.wait_for(lambda: hub.ready[0])
    notify.publish_tx(conn, event(1))
    listener.until(lambda me: me.heard == ["1"])


def test_the_app_role_sees_which_cluster_this_is(factory: Any) -> None:
    standby, cluster = factory.conn().execute(SQL["identify"]).fetchone()
    system, timeline = cluster.split(".")
    assert not standby and int(system) > 0 and int(timeline, 16) >= 1


def test_a_log_that_cannot_be_cleaned_holds_up_no_event(
    factory: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SQL, "delete_old", "select from no_such_table where %(limit)s > 0")
    hub = factory.hub(poll_interval=0.02, retention=0.1)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    conn = factory.conn()
    for n in range(5):
        notify.publish_tx(conn, event(n))
        listener.count(n + 1)
    assert hub.ready[0] and listener.refreshes == 0


def test_old_events_are_deleted_faster_than_new_ones_are_written(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.notify.eventlog.DELETE_BATCH", 100)
    hub, conn = factory.hub(retention=3600.0), factory.conn()
    conn.execute(PUBLISH, [1, 900])
    conn.execute("update forge_boot set deleted_before = pg_snapshot_xmin(pg_current_snapshot())")
    hub._delete_due = 0.0
    hub._delete_old(SimpleNamespace(connection=lambda: conn, close=lambda: None))
    assert conn.execute("select count(*) from forge_event").fetchone() == (0,)
