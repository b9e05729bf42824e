"""What a worker class says of its kind: arguments, defaults, time limits, retries, farewells."""

from __future__ import annotations

import datetime
import json
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from forge_min import jobs
from forge_min.errors import ForgeError, Invalid
from forge_min.jobs import Catalogue, Job, Kind, NewJob, Unique, kind_of
from forge_min.jobs.args import pack, reader
from hypothesis import given
from hypothesis import strategies as st

DB = pytest.mark.db


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass(frozen=True)
class Address:
    city: str
    zip: str | None = None


@dataclass(frozen=True)
class Order:
    id: uuid.UUID
    total: Decimal
    at: datetime.datetime
    size: Size = Size.SMALL
    mode: Literal["fast", "slow"] = "fast"
    items: list[int] = field(default_factory=list)
    to: Address | None = None
    notes: dict[str, float | None] = field(default_factory=dict)
    pair: tuple[bool, ...] = ()
    anything: Any = None


@dataclass(frozen=True)
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n <= 0:
            raise ValueError("n must be above 0")


class Ship:
    kind = "Ship"
    args = Order
    queue = "parcels"
    priority = 1
    max_attempts = 7
    timeout = 3.0

    def work(self, job: Job[Order]) -> None: ...


GOOD = Order(uuid.UUID(int=7), Decimal("1.20"), datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC))

orders = st.builds(
    Order,
    id=st.uuids(),
    total=st.decimals(allow_nan=False, allow_infinity=False),
    at=st.datetimes(timezones=st.just(datetime.UTC)),
    to=st.none() | st.builds(Address, st.text(), st.none() | st.text()),
    notes=st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    pair=st.lists(st.booleans()).map(tuple),
    anything=st.none() | st.integers() | st.text(),
)


@given(orders)
def test_arguments_come_back_as_they_went(order: Order) -> None:
    wrong: list[Any] = []
    assert (reader(Order)(pack(order), "/args", wrong), wrong) == (order, [])


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"id": "no"}, "/args/id", "type"),
        ({"id": 7}, "/args/id", "type"),
        ({"total": "a"}, "/args/total", "type"),
        ({"at": "yesterday"}, "/args/at", "type"),
        ({"size": "xl"}, "/args/size", "choice"),
        ({"mode": 1}, "/args/mode", "choice"),
        ({"items": [1, "2", 3]}, "/args/items/1", "type"),
        ({"items": [True]}, "/args/items/0", "type"),
        ({"items": {}}, "/args/items", "type"),
        ({"to": {"zip": "1"}}, "/args/to", "type"),
        ({"notes": {"a": "b"}}, "/args/notes/a", "type"),
        ({"pair": [1]}, "/args/pair/0", "type"),
        ({"more": 1}, "/args/more", "unknown"),
        ({"id": None}, "/args/id", "type"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        jobs.new_job.check_job(NewJob(Ship, pack(GOOD) | change), Catalogue())
    assert [(e.pointer, e.code) for e in caught.value.errors] == [(pointer, code)]
    assert caught.value.code == "F711"


def test_every_missing_argument_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        jobs.new_job.check_job(NewJob(Ship, {}), Catalogue())
    assert [e.pointer for e in caught.value.errors] == ["/args/at", "/args/id", "/args/total"]


def test_a_dataclass_that_is_wrong_inside_or_another_one_is_refused() -> None:
    class Work:
        kind = "p"
        args = Positive

        def work(self, job: Job) -> None: ...

    for args in (Positive.__new__(Positive), Address("a"), {"n": 0}):
        if isinstance(args, Positive):
            object.__setattr__(args, "n", "1")
        with pytest.raises(Invalid):
            jobs.new_job.check_job(NewJob(Work, args), Catalogue())


def test_a_type_that_json_has_no_word_for_is_an_error_of_the_class() -> None:
    @dataclass
    class Wrong:
        data: bytes

    class Work:
        kind = "w"
        args = Wrong

        def work(self, job: Job) -> None: ...

    with pytest.raises(ForgeError) as caught:
        kind_of(Work)
    assert caught.value.code == "F723"


def test_an_insert_takes_the_classes_word_unless_it_says_otherwise() -> None:
    plain = jobs.new_job.check_job(NewJob(Ship, GOOD), Catalogue())
    assert (plain.kind, plain.queue, plain.priority, plain.max_attempts) == (
        "Ship",
        "parcels",
        1,
        7,
    )
    other = jobs.new_job.check_job(
        NewJob(Ship, GOOD, queue="x", priority=3, max_attempts=1), Catalogue()
    )
    assert (other.queue, other.priority, other.max_attempts) == ("x", 3, 1)
    known = Catalogue({"Ship": kind_of(Ship)}, max_attempts=9)
    by_name = jobs.new_job.check_job(NewJob("Ship", GOOD), known)
    assert by_name == plain
    with pytest.raises(Invalid):
        jobs.new_job.check_job(NewJob("Ship", {"id": 1}), known)
    assert jobs.new_job.check_job(NewJob("Other", {}), known).max_attempts == 9


@DB
def test_a_kind_that_nobody_works_is_refused_where_that_is_wanted(shop: Any) -> None:
    conn = shop.mine()
    conn.jobs = Catalogue({"a": Kind("a")}, strict=True)
    jobs.insert_tx(conn, "a")
    for insert in (
        lambda: jobs.insert_tx(conn, "b"),
        lambda: jobs.insert_many_tx(conn, [NewJob("a"), NewJob("b")]),
    ):
        with pytest.raises(ForgeError) as caught:
            insert()
        assert caught.value.code == "F716" and "kinds here: a" in str(caught.value.hint)
    assert shop.states() == {"available": 1}


@DB
def test_a_worker_gets_its_dataclass_and_a_job_that_does_not_fit_fails(shop: Any) -> None:
    seen: list[Order] = []

    class Work(Ship):
        def work(self, job: Job[Order]) -> None:
            seen.append(job.args)

    good = jobs.insert_tx(shop.conn, Work, GOOD)
    bad = jobs.insert_tx(shop.conn, "Ship", {"id": 1}, queue="parcels", max_attempts=1)
    shop.worker({"Ship": kind_of(Work())}, queues={"parcels": 2})
    shop.until(good, "completed")
    shop.until(bad, "discarded")
    assert seen == [GOOD]
    assert "/args/id must be the text of a UUID" in shop.row(bad, "errors")[0][0]["error"]


@DB
def test_each_kind_has_its_own_time_limit(shop: Any) -> None:
    def work(job: Job) -> None:
        job.conn.execute("select pg_sleep(1)")

    quick = shop.insert("quick", max_attempts=1)
    slow = shop.insert("slow")
    kinds = {"quick": Kind("quick", work, timeout=0.2), "slow": Kind("slow", work, timeout=30)}
    shop.worker(kinds, timeout=0.3)
    shop.until(quick, "discarded")
    shop.until(slow, "completed")
    assert "longer than 0.2 s" in shop.row(quick, "errors")[0][0]["error"]


@DB
@pytest.mark.parametrize(
    ("given", "low", "high"),
    [(600.0, 599, 601), (-5, -1, 1), (float("nan"), 0.85, 1.15), ("soon", 0.85, 1.15)],
)
def test_a_kinds_own_curve_says_when_it_is_tried_again(
    shop: Any, given: Any, low: float, high: float
) -> None:
    told: list[Any] = []

    def retry(job: Job, error: BaseException) -> float:
        told.append((job.attempt, str(error)))
        return given

    def work(job: Job) -> None:
        raise ValueError("no") if job.attempt == 1 else jobs.Snooze(900)

    job = shop.insert()
    shop.worker({"a": Kind("a", work, retry=retry)}, poll_interval=30.0)
    shop.wait_for(lambda: shop.row(job, "errors")[0] != [])
    ((seconds,),) = shop.conn.execute(
        "select extract(epoch from scheduled_at - attempted_at)::float8 from forge_job"
    )
    assert low <= seconds <= high + 30 and told == [(1, "no")]


@DB
@pytest.mark.parametrize("how", ["last attempt", "raised", "by hand", "killed"])
def test_who_is_given_up_is_told_of_once_however_that_came_about(shop: Any, how: str) -> None:
    told: list[Job] = []

    def work(job: Job) -> None:
        raise jobs.Discard("useless") if how == "raised" else RuntimeError("no")

    first = shop.insert(args={"n": 1}, max_attempts=1, tags=["x"], metadata={"user": "ann"})
    if how == "by hand":
        jobs.control.change_jobs(shop.conn, "discard", [first], ["a"])
    if how == "killed":
        shop.conn.execute(
            "update forge_job set state = 'running', attempt = 1, claim = 1, attempted_at = now(),"
            " worker_id = gen_random_uuid()"
        )
    shop.worker({"a": Kind("a", work, discarded=told.append)})
    shop.until(first, "discarded")
    shop.settle()
    (farewell,) = told
    assert farewell.metadata["discarded"] == first and farewell.args == {"n": 1}
    assert farewell.metadata["user"] == "ann" and farewell.metadata["error"]
    assert shop.states() == {"discarded": 1, "completed": 1}


@DB
def test_a_farewell_that_fails_is_tried_again_and_never_told_of_itself(shop: Any) -> None:
    runs: list[int] = []

    def farewell(job: Job) -> None:
        runs.append(job.attempt)
        raise jobs.Discard("enough") if job.attempt == 2 else RuntimeError("not yet")

    shop.insert(max_attempts=1)
    kind = Kind("a", lambda job: 1 / 0, discarded=farewell, retry=lambda job, error: 0.0)
    shop.worker({"a": kind})
    shop.wait_for(lambda: shop.states() == {"discarded": 2})
    assert runs == [1, 2]


async def _awaited(self: object, job: Job) -> None: ...


def _iterated(self: object, job: Job) -> Any:
    yield job


@pytest.mark.parametrize(
    "says",
    [
        {"work": None}, {"work": _awaited}, {"work": _iterated}, {"discarded": _awaited},
        {"timeout": "30"}, {"timeout": 0}, {"timeout": datetime.timedelta(seconds=3)},
    ],
)  # fmt: skip
def test_a_worker_that_would_do_nothing_is_refused(says: dict[str, Any]) -> None:
    """Its jobs would count as done."""
    body = {"kind": "w", "work": lambda self, job: None} | says
    with pytest.raises(ForgeError) as caught:
        kind_of(type("Work", (), body))
    assert caught.value.code == "F723"


def test_a_class_that_no_worker_list_has_is_refused_as_its_name_is() -> None:
    class Forgotten:
        kind = "forgotten"

        def work(self, job: Job) -> None: ...

    strict = Catalogue({"Ship": kind_of(Ship)}, strict=True)
    for kind in ("forgotten", Forgotten, Forgotten()):
        with pytest.raises(ForgeError) as caught:
            jobs.new_job.check_job(NewJob(kind), strict)
        assert caught.value.code == "F716"


@dataclass
class Node:
    """With a field that is worked out, and no argument."""

    n: int = 0
    next: Any = None
    made: int = field(default=7, init=False)

    def __post_init__(self) -> None:
        if self.n == 13:
            raise KeyError


class Tree:
    kind = "tree"
    args = Node

    def work(self, job: Job) -> None: ...


def test_arguments_that_hold_themselves_or_raise_are_refused() -> None:
    round_and_round = Node()
    round_and_round.next = round_and_round
    around: dict[str, Any] = {}
    around["x"] = around
    for kind, args in (
        (Tree, round_and_round),
        ("x", around),
        ("x", round_and_round),
        (Tree, {"n": 13}),
    ):
        with pytest.raises(Invalid):
            jobs.new_job.check_job(NewJob(kind, args), Catalogue())
    assert json.loads(jobs.new_job.check_job(NewJob(Tree, Node(1)), Catalogue()).args) == {
        "n": 1,
        "next": None,
    }


@pytest.mark.parametrize(
    "options",
    [{"tags": None}, {"tags": 5}, {"unique": Unique("k", within="3")}],  # type: ignore[arg-type]
)
def test_options_of_another_type_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        jobs.new_job.check_job(NewJob("x", {}, **options), Catalogue())
