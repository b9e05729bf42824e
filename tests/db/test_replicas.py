"""Which standby answers a read. With real standbys: tests/failover/test_replicas.py."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min import db
from forge_min.db import ANY_POSITION, Consistency, Replicas, WalPosition, consistency
from forge_min.errors import DatabaseError, Unavailable
from forge_min.testing import TestDatabase

FIRST = "00000001"


def position(lsn: int, timeline: str = FIRST, cluster: str = "7") -> WalPosition:
    return WalPosition(cluster, timeline, lsn)


class Standbys:
    """Replicas whose samples a test sets; a connection is the name of the standby."""

    def __init__(self, count: int = 1) -> None:
        def never() -> Any:
            raise AssertionError("no thread runs")

        names: Any = [lambda n=n: f"standby {n}" for n in range(count)]
        self.replicas = Replicas(never, [never] * count, names, 2.0)
        now = time.monotonic()
        self.primary((now - 5.0, 50), (now - 0.1, 100))
        for n in range(count):
            self.standby(n, position(100))

    def primary(self, *samples: tuple[float, int]) -> None:
        self.replicas._samples.clear()
        self.replicas._samples.extend((at, position(lsn)) for at, lsn in samples)

    def standby(self, number: int, at: WalPosition | None, age: float = 0.0) -> None:
        replica = self.replicas._replicas[number]
        replica.position, replica.sampled_at = at, time.monotonic() - age

    def chosen(self, required: WalPosition, request: Consistency | None = None) -> Any:
        found = self.replicas.choose(request or Consistency(required), required)
        return found and found[0]


def test_a_standby_answers_what_it_has_replayed() -> None:
    standbys = Standbys()
    for required, result in (
        (ANY_POSITION, "standby 0"),
        (position(99), "standby 0"),
        (position(100), "standby 0"),
        (position(101), None),
        (position(1, cluster="8"), None),
        (position(1, timeline="00000002"), None),
    ):
        assert standbys.chosen(required) == result, required


@pytest.mark.parametrize(
    "change",
    [
        lambda standbys: standbys.standby(0, None),  # it was promoted
        lambda standbys: standbys.standby(0, position(100), age=1.5),  # it does not respond
        lambda standbys: standbys.standby(0, position(60)),  # 5 seconds behind
        lambda standbys: standbys.standby(0, position(100, cluster="8")),
        lambda standbys: standbys.standby(0, position(100, timeline="00000002")),
        lambda standbys: standbys.primary(),  # nobody knows how far it is behind
        lambda standbys: standbys.primary((time.monotonic() - 3.0, 100)),
        lambda standbys: standbys.replicas._replicas[0].suspend(Unavailable("gone")),
    ],
)
def test_a_standby_that_does_not_follow_the_primary_answers_nothing(change: Any) -> None:
    standbys = Standbys()
    assert standbys.chosen(ANY_POSITION)
    change(standbys)
    assert standbys.chosen(ANY_POSITION) is None


@pytest.mark.parametrize("threads", [1, 8])
def test_two_standbys_share_the_requests_and_replace_each_other(threads: int) -> None:
    standbys = Standbys(2)
    with ThreadPoolExecutor(threads) as pool:
        seen = Counter(pool.map(lambda _: standbys.chosen(ANY_POSITION), range(1000)))
    assert seen == {"standby 0": 500, "standby 1": 500}
    standbys.standby(0, None)
    assert {standbys.chosen(ANY_POSITION) for _ in range(4)} == {"standby 1"}


def test_a_request_is_answered_by_one_standby_and_then_by_the_primary() -> None:
    standbys, request = Standbys(2), Consistency(ANY_POSITION)
    assert {standbys.chosen(ANY_POSITION, request) for _ in range(4)} == {"standby 0"}
    standbys.standby(0, None)
    assert standbys.chosen(ANY_POSITION, request) is None
    assert request.required is None  # also when the standby has returned


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "7.00000001.", "7.0000000g.1", f"7.{FIRST}.{'f' * 17}"]
)
def test_a_position_that_is_none_is_not_read(text: str) -> None:
    assert WalPosition.parse(text) is None
    assert WalPosition.parse(str(position(0x3000148))) == position(0x3000148)


@pytest.mark.db
def test_every_kind_of_write_notes_its_position_and_a_read_none(
    fresh_database: TestDatabase,
) -> None:
    database = db.Database(fresh_database.owner_url)
    database.replicas = Standbys().replicas
    conn = database.connection()
    conn.execute("create table t (id int)")
    insert = "insert into t values (1)"
    last = 0

    def in_transaction() -> None:
        with db.transaction(conn):
            db.run(conn, insert)

    def refused() -> None:
        db.run(conn, "insert into t values (1 / %s::int)", [0])

    for work, writes in (
        (lambda: db.run(conn, insert), True),
        (lambda: db.run(conn, "insert into t values (%s)", [2]), True),
        (lambda: db.run_checked(conn, insert, None, None, lambda rows: None), True),
        (in_transaction, True),
        (lambda: db.run(conn, "select 1"), False),
        (lambda: db.read(conn, "with w as (select 1) select * from w"), False),
    ):
        for _ in range(7):  # prepared from the fifth on
            current = Consistency(ANY_POSITION)
            token = consistency.set(current)
            work()
            consistency.reset(token)
            assert (current.written is not None) == writes
            if current.written is not None:
                assert current.written.lsn > last and current.required is None
                last = current.written.lsn
    token = consistency.set(Consistency(ANY_POSITION))
    with pytest.raises(DatabaseError):
        refused()
    consistency.reset(token)
    assert db.run(conn, "select 1") == [(1,)]
    database.close()
