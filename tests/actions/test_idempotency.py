"""Idempotency keys: one create, however often it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from forge_min import db
from forge_min.auth import Identity, as_identity
from forge_min.errors import Conflict, Invalid, Unavailable
from forge_min.testing import TestDatabase

from workshop import ANN, BOB, NORTH, Workshop, together, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def creating(works: Workshop, code: str) -> Any:
    """What the API does with a POST."""

    def run(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        row = works["products"].create({"code": code}, conn=conn)
        return 201, [("Location", f"/products/{row.id}")], f'{{"code": "{code}é"}}'.encode()

    return run


def test_a_repetition_gets_the_first_answer_and_creates_nothing(works: Workshop) -> None:
    with as_identity(ANN):
        first = works["products"].once("key", "hash", creating(works, "A"))
        again = works["products"].once("key", "hash", creating(works, "B"))
    assert first[0] == 201 and first[2] == '{"code": "Aé"}'.encode() and first[3] is False
    assert again == (*first[:3], True)
    assert works.sql("select code from products") == [("A",)]


def test_another_request_with_the_same_key_is_refused(works: Workshop) -> None:
    with as_identity(ANN):
        works["products"].once("key", "hash", creating(works, "A"))
        with pytest.raises(Invalid) as caught:
            works["products"].once("key", "other", creating(works, "B"))
    assert caught.value.code == "F623"
    assert works.sql("select code from products") == [("A",)]


def test_the_key_of_another_user_tenant_resource_operation_or_row_is_another(
    works: Workshop,
) -> None:
    done = []

    def run(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        done.append(1)
        return 200, [], b""

    for who in (ANN, BOB, Identity(user="ann", tenant=BOB.tenant), Identity("x", tenant=NORTH)):
        with as_identity(who):
            works["products"].once("key", "hash", run)
    with as_identity(ANN):
        works["tags"].once("key", "hash", run)
        works["products"].once("key", "hash", run, operation="update")
        for row in ("/a", "/b", "/a"):
            works["products"].once("key", "hash", run, operation="update", path=row)
        works["products"].once("key", "hash", run)
    assert len(done) == 8


def test_who_has_no_user_is_known_by_the_client(works: Workshop) -> None:
    seen = []
    for who, client in [(ANN, "a"), (ANN, "b"), *[(Identity(), name) for name in ("a", "b", "a")]]:
        with as_identity(replace(who, tenant=NORTH, roles=ANN.roles)):
            answer = works["units"].once("key", "h", lambda conn: (200, [], b""), client=client)
            seen.append(answer[3])
    assert seen == [False, True, False, False, True]


def test_a_repetition_by_one_who_may_read_no_more_is_another_request(works: Workshop) -> None:
    writer = replace(ANN, roles=frozenset({"writer"}))
    products = works["products"]
    shut = products.resource._replace(permissions={"read": ("reader",), "create": ("writer",)})
    products.resource = shut  # type: ignore[misc]
    with as_identity(replace(ANN, roles=frozenset({"writer", "reader"}))):
        products.once("key", "hash", creating(works, "A"))
    with as_identity(writer), pytest.raises(Invalid) as caught:
        products.once("key", "hash", creating(works, "A"))
    assert caught.value.code == "F623"


def test_a_migration_of_its_columns_goes_unnoticed_inside_transactions_too(
    works: Workshop, fresh_database: TestDatabase
) -> None:
    def run(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        return 201, [], works["units"].create({"code": key}, conn=conn).code.encode()

    with as_identity(ANN):
        for key in "abcdefgh":
            works["units"].once(key, "hash", run)
        with db.connect(fresh_database.owner_url) as owner:
            owner.execute("alter table units alter symbol type varchar(9)")
        key = "later"
        answer = works["units"].once(key, "hash", run, repeatable=True)
        assert answer == (201, [], b"later", False)
    assert works.sql("select count(*) from units where code = 'later'") == [(1,)]


def test_a_create_that_fails_stores_nothing(works: Workshop) -> None:
    works.product("A")
    with as_identity(ANN):
        with pytest.raises(Conflict) as caught:
            works["products"].once("key", "hash", creating(works, "A"))
        assert [e.pointer for e in caught.value.errors] == ["/code"]
        assert works.one("select count(*) from forge_idempotency") == 0
        assert works["products"].once("key", "hash", creating(works, "B"))[3] is False


def test_the_same_key_at_once_creates_one_row(works: Workshop) -> None:
    answers: list[Any] = []

    def post() -> None:
        with as_identity(ANN):
            try:
                answers.append(works["products"].once("key", "hash", creating(works, "A")))
            except Conflict as err:
                assert err.code == "F622"
                answers.append(None)

    assert together(*[post] * 8) == []
    made = [answer for answer in answers if answer]
    assert len({answer[1][0] for answer in made}) == 1
    assert [answer[3] for answer in made].count(False) == 1
    assert works.one("select count(*) from products") == 1


def test_a_key_in_progress_is_a_conflict(works: Workshop) -> None:
    started, finish = threading.Event(), threading.Event()
    seen: list[str] = []

    def slow(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        started.set()
        assert finish.wait(30)
        return 200, [], b"done"

    def first() -> None:
        with as_identity(ANN):
            works["products"].once("key", "hash", slow)

    def second() -> None:
        try:
            assert started.wait(30)
            with as_identity(ANN), pytest.raises(Conflict) as caught:
                works["products"].once("key", "hash", slow)
            seen.append(caught.value.code)
        finally:
            finish.set()

    assert together(first, second) == []
    assert seen == ["F622"]


class Renaming:
    """The project's code, which locks two units. Its first call meets another at `both_locked`,
    where each has its first unit and needs that of the other.
    """

    def __init__(self, works: Workshop, codes: str, both_locked: threading.Barrier) -> None:
        self.units, self.codes, self.both_locked = works["units"], codes, both_locked
        self.calls = 0

    def __call__(self, conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        self.calls += 1
        first, second = self.codes
        sql = "update units set name = %s where code = %s"
        db.run(conn, sql, [self.codes, first])
        if self.calls == 1:
            self.both_locked.wait(30)
        db.run(conn, sql, [self.codes, second])
        return 200, [], b"done"

    def send(self) -> bool:
        """The request; whether its answer is a repetition."""
        with as_identity(ANN):
            return bool(self.units.once(self.codes, "hash", self, operation="rename")[3])


def test_code_of_the_project_runs_once_and_a_deadlock_is_unavailable(works: Workshop) -> None:
    """PostgreSQL ends the one that looks first for a deadlock, which may be either."""
    works.owner.execute("insert into units (code) values ('a'), ('b')")
    both_locked = threading.Barrier(2)
    requests = [Renaming(works, codes, both_locked) for codes in ("ab", "ba")]
    (error,) = together(*(request.send for request in requests))
    assert isinstance(error, Unavailable) and error.code == "F406"
    assert [request.calls for request in requests] == [1, 1]
    ((name,),) = works.sql("select distinct name from units")
    done, undone = sorted(requests, key=lambda request: request.codes != name)
    assert done.send() is True
    assert undone.send() is False, "the key of the refused request is free"
    assert undone.send() is True
    assert (done.calls, undone.calls) == (1, 2)


def test_a_create_is_tried_again_as_a_whole(works: Workshop) -> None:
    units, failed = works["units"], []

    def run(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        row = units.create({"code": "a"}, conn=conn)
        if not failed:
            failed.append(row)
            raise Unavailable("this transaction and another waited for each other", code="F406")
        return 201, [], row.code.encode()

    with as_identity(ANN):
        answer = units.once("key", "hash", run, repeatable=True)
    assert answer == (201, [], b"a", False) and len(failed) == 1
    assert works.sql("select code from units") == [("a",)]


def test_keys_are_forgotten_after_a_day(works: Workshop) -> None:
    done = []

    def run(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        done.append(1)
        return 200, [], b""

    with as_identity(ANN):
        for n in range(15):
            works["products"].once(f"key {n}", "hash", run)
        works.owner.execute("update forge_idempotency set created_at = now() - interval '25 hours'")
        assert works["products"].once("key 3", "other", run)[3] is False
        assert works.one("select count(*) from forge_idempotency") == 5
        assert works["products"].once("key 3", "other", run)[3] is True
        works["products"].once("key 99", "hash", run)
    assert works.one("select count(*) from forge_idempotency") == 2
    assert len(done) == 17
