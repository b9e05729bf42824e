"""Inserting jobs: with the row that caused them, in bulk, and what the table refuses."""

from __future__ import annotations

import json
import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min import db, jobs, notify
from forge_min.auth import Identity, as_identity
from forge_min.errors import ForgeError, Invalid
from forge_min.jobs import JobHook, NewJob

pytestmark = pytest.mark.db


HOOK = JobHook("Welcome", "mail", 1)


def test_a_job_exists_if_and_only_if_its_transaction_commits(shop: Any) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction(shop.conn):
        shop.insert()
        raise ZeroDivisionError
    assert shop.states() == {}
    with db.transaction(shop.conn):
        shop.insert()
        assert shop.mine().execute("select count(*) from forge_job").fetchone() == (0,)
    assert shop.states() == {"available": 1}


class Told:
    """A nudger that keeps what it is told. riding: its answer to who asks to send a NOTIFY."""

    def __init__(self, riding: bool) -> None:
        self.nudges: list[str] = []
        self.riding = riding

    def nudge(self, payload: str) -> None:
        self.nudges.append(payload)

    def notifies_in_transaction(self, payload: str) -> bool:
        return self.riding


def test_an_insert_nudges_its_queue_after_the_commit(shop: Any) -> None:
    told = Told(riding=False)
    conn = db.connect(shop.database.app_url, nudger=told)
    with conn, db.transaction(conn):
        jobs.insert_tx(conn, "a", {}, queue="mail")
        jobs.insert_many_tx(conn, [NewJob("a", {}, queue="bulk")])
        jobs.insert_tx(conn, "a", {}, delay=60, queue="later")
        assert told.nudges == []
    assert sorted(told.nudges) == ["j:bulk", "j:mail"]


def test_a_notify_that_rides_is_heard_if_and_only_if_the_job_is_committed(shop: Any) -> None:
    told, ear = Told(riding=True), shop.mine()
    ear.execute("listen forge")
    with db.connect(shop.database.app_url, nudger=told) as conn:
        jobs.insert_tx(conn, "a", queue="alone")
        with db.transaction(conn):
            jobs.insert_tx(conn, "a", queue="in a transaction", tags=["x"])
            with pytest.raises(ZeroDivisionError), db.transaction(conn):
                jobs.insert_tx(conn, "a", queue="rolled back")
                raise ZeroDivisionError
        jobs.insert_tx(conn, "a", queue="later", delay=60)
        jobs.insert_tx(conn, "a", queue="unique", unique="only one")
        heard = [found.payload for found in ear.notifies(timeout=0.5)]
    assert heard == ["j:alone", "j:in a transaction"]
    assert told.nudges == ["j:unique"]


@pytest.mark.thorough
def test_a_full_queue_of_notifications_refuses_no_job(tmp_path: Path) -> None:
    with db.EmbeddedServer(tmp_path / "probe") as server, db.connect(server.admin_url) as conn:
        if conn.info.server_version < 170000:
            pytest.skip("the size of the queue is fixed before PostgreSQL 17")
    settings = {"max_notify_queue_pages": "64"}
    with db.EmbeddedServer(tmp_path / "postgres", settings=settings) as server:
        with (
            db.connect(server.owner_url) as conn,
            db.connect(server.owner_url, nudger=Told(riding=True)) as client,
        ):
            list(db.migrate(conn, db.FORGE_MIGRATIONS))
            conn.execute("listen forge")
            conn.execute("begin")  # so it reads nothing, and nothing can go
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                for n in range(1000):
                    client.execute("select pg_notify('forge', %s)", [f"{n:07900}"])
            for _ in range(10):
                jobs.insert_tx(client, "a")
            assert client.execute("select count(*) from forge_job").fetchone() == (10,)


@pytest.mark.parametrize(
    "args",
    [
        {"x": math.nan},
        {"x": math.inf},
        {"x": object()},
        {"x": "a\0b"},
        {"x": "\ud800"},
        {"x": {1, 2}},
        {("a", "b"): 1},
    ],
)
def test_arguments_that_json_cannot_say_are_refused_before_anything_is_sent(
    shop: Any, args: dict[Any, Any]
) -> None:
    with pytest.raises(Invalid) as caught:
        shop.insert(args=args)
    assert caught.value.code == "F711" and caught.value.errors[0].pointer == "/args"
    with pytest.raises(Invalid):
        jobs.insert_many_tx(shop.conn, [NewJob("a", {}), NewJob("a", args)])
    assert shop.states() == {}


def test_a_text_that_only_looks_like_nul_is_stored(shop: Any) -> None:
    job = shop.insert(args={"x": "\\u0000", "y": "Zürich 🛫"})
    assert shop.row(job, "args") == ({"x": "\\u0000", "y": "Zürich 🛫"},)


def test_bulk_inserts_keep_every_option(shop: Any) -> None:
    many = [NewJob("a", {"n": n, "s": "tab\t\\N\n"}, "bulk", 3, 7) for n in range(1000)]
    many.append(NewJob("b", {}, delay=3600, metadata={"traceparent": "x"}))
    assert jobs.insert_many_tx(shop.conn, iter(many)) == 1001
    rows = shop.conn.execute(
        "select kind, queue, priority, max_attempts, state, args ->> 's', metadata,"
        " scheduled_at > now() + interval '59 minutes' from forge_job order by id"
    ).fetchall()
    assert rows[0] == ("a", "bulk", 3, 7, "available", "tab\t\\N\n", {}, False)
    assert rows[-1] == ("b", "default", 2, 25, "scheduled", None, {"traceparent": "x"}, True)


@pytest.mark.parametrize("first", [0, 1, 199, 200, 201, 500])
def test_bulk_inserts_keep_their_order_where_plain_ones_and_others_mix(
    shop: Any, first: int
) -> None:
    """The first that says more comes at `first`, at the edges of what is sent at once too."""
    others: list[dict[str, Any]] = [
        {"tags": ["x", 'quo"te\\']}, {"limit_key": "k"}, {"delay": 60.0}, {},
    ]  # fmt: skip
    many = [NewJob("a", {"n": n}) for n in range(first)]
    many += [NewJob("a", {"n": n}, **others[n % 4]) for n in range(first, first + 401)]
    ids = jobs.insert_many_tx(shop.conn, many, ids=True)
    rows = shop.conn.execute(
        "select id, args -> 'n', tags, limit_key, state, scheduled_at > now() from forge_job"
        " order by id"
    ).fetchall()
    assert [row[0] for row in rows] == ids == sorted(ids)
    for n, (_, said, tags, key, state, later) in enumerate(rows):
        says = others[n % 4] if n >= first else {}
        assert said == n and tags == says.get("tags", []) and key == says.get("limit_key")
        assert (state, later) == (("scheduled", True) if "delay" in says else ("available", False))


def test_bulk_inserts_make_the_rows_that_one_by_one_would(shop: Any) -> None:
    """Kinds as texts and classes, with arguments of their own, in every mix of what they share."""
    draw, at = random.Random(6), datetime(2030, 1, 1, tzinfo=UTC)

    @dataclass(frozen=True)
    class Mail:
        to: str

    class Send:
        kind, args, queue, priority, max_attempts = "send", Mail, "mail", 1, 3

        def work(self, job: object) -> None: ...

    options: list[dict[str, Any]] = [
        {}, {}, {}, {"queue": "q"}, {"priority": 4}, {"max_attempts": 9}, {"priority": 1},
        {"tags": ["t"]}, {"metadata": {"m": 1}}, {"unique": None}, {"scheduled_at": at},
    ]  # fmt: skip
    many = []
    for n in range(300):
        said = (Send, Mail(f"{n}\t\\N")) if draw.random() < 0.3 else (draw.choice("ab"), {"n": n})
        # Most of a bulk is plain until, somewhere, something says more.
        many.append(NewJob(*said, **draw.choice(options[: 7 if n < 200 else None])))
    many[100] = many[100]._replace(unique="once")
    shop.conn.jobs = jobs.Catalogue({"send": jobs.kind_of(Send())}, max_attempts=11)
    told: list[tuple[str, str, int]] = []
    seen = []
    for bulk in (True, False):
        shop.conn.jobs.inserted = lambda *what: told.append(what)
        if bulk:
            assert jobs.insert_many_tx(shop.conn, iter(many)) == 300
        else:
            for job in many:
                jobs.insert_tx(shop.conn, **job._asdict())
        rows = shop.conn.execute(
            "select kind, queue, args::text, priority, max_attempts, state, tags, metadata::text,"
            " unique_key, nullif(scheduled_at, created_at) from forge_job"
            " order by unique_key is null, id"
        ).fetchall()
        counted: Counter[tuple[str, str]] = Counter()
        for kind, queue, number in told:
            counted[kind, queue] += number
        seen.append((rows, counted))
        told.clear()
        shop.conn.execute("delete from forge_job")
    assert seen[0] == seen[1]


def test_a_bulk_that_is_refused_leaves_nothing_in_a_transaction_that_goes_on(shop: Any) -> None:
    """Where the error comes makes no difference: among plain ones, at the first that says more,
    and at a unique one.
    """
    wrong = [
        NewJob("a", {"x": object()}), NewJob("a", delay="soon"), NewJob("a", unique="", tags=["t"]),
    ]  # fmt: skip
    for one in wrong:
        with db.transaction(shop.conn):
            jobs.insert_tx(shop.conn, "kept")
            with pytest.raises(Invalid):
                jobs.insert_many_tx(shop.conn, [NewJob("a"), NewJob("a", tags=["t"]), one])
            with pytest.raises(Invalid):
                jobs.insert_many_tx(shop.conn, [NewJob("a"), one])
    rows = shop.conn.execute("select kind, count(*) from forge_job group by kind").fetchall()
    assert rows == [("kept", 3)]


def test_a_bulk_is_checked_where_its_jobs_say_what_has_no_hash(shop: Any) -> None:
    for wrong in ({"priority": []}, {"queue": {}}, {"kind": []}):
        with pytest.raises(Invalid):
            jobs.insert_many_tx(shop.conn, [NewJob("a"), NewJob(**{"kind": "a"} | wrong)])


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 0},
        {"priority": 5},
        {"max_attempts": 0},
        {"max_attempts": 32_768},
        {"queue": ""},
        {"queue": "q" * 101},
        {"kind": ""},
        {"kind": "k" * 201},
        {"kind": "\ud800"},
        {"kind": 7},
        {"queue": "a\0b"},
        {"priority": "2"},
        {"priority": 1.5},
        {"priority": 2.0},
        {"priority": True},
        {"max_attempts": True},
        {"delay": float("nan")},
        {"delay": float("-inf")},
        {"delay": 1e12},
        {"delay": "soon"},
    ],
)
def test_options_out_of_range_are_refused(shop: Any, options: dict[str, Any]) -> None:
    kind = options.get("kind", "a")
    many = jobs.NewJob(**{"kind": kind, "args": {}, **options})
    for insert in (
        lambda: shop.insert(kind, **{k: v for k, v in options.items() if k != "kind"}),
        lambda: jobs.insert_many_tx(shop.conn, [NewJob("a", {}), many]),
    ):
        with pytest.raises(Invalid) as caught:
            insert()
        assert [error.pointer for error in caught.value.errors] == ["/" + next(iter(options))]
    assert shop.states() == {}


@pytest.mark.parametrize(
    "change",
    [
        "state = 'running'",
        "state = 'completed'",
        "state = 'asleep'",
        "claim = 1",
        "finalized_at = now()",
        "attempt = 26",
        "errors = '{}'",
        "args = '[]'",
    ],
)
def test_the_table_enforces_the_state_machine(shop: Any, change: str) -> None:
    shop.insert()
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.conn.execute(f"update forge_job set {change}")


@pytest.mark.parametrize(
    "columns",
    [
        "priority = 0",
        "args = '[]'",
        "attempt = -5",
        "finalized_at = now()",
        "max_attempts = 0",
        "scheduled_at = '-infinity'",
        "scheduled_at = '0044-03-15 12:00 BC'",
        "created_at = '12000-01-01'",
        "created_at = 'infinity'",
    ],
)
def test_a_job_that_came_in_wrong_holds_nobody_up(shop: Any, columns: str) -> None:
    """As raw SQL may write one, or the previous release, which left the checking to the table."""
    name, _, value = columns.partition(" = ")
    shop.conn.execute(f"insert into forge_job (kind, {name}) values ('a', {value})")
    good = shop.insert()
    shop.worker({"a": lambda job: None}, queues={"default": 1})
    shop.until(good, "completed")
    shop.wait_for(lambda: shop.states() == {"completed": 2})


def test_row_event_and_job_of_one_statement_commit_and_vanish_together(shop: Any) -> None:
    with db.connect(shop.database.owner_url) as owner:
        owner.execute(
            "create table users (id uuid primary key default forge_uuid7(), name text unique,"
            " version bigint not null default 1)"
        )
    before = "jsonb_build_object('name', row.name)"
    fragment = partial(jobs.job_fragment, "row", resource="User", operation="create")
    statement = (
        "with row as (insert into users (name) select unnest(%(names)s::text[]) returning *),"
        f" event as ({notify.event_fragment('row', 'users', 'user.created')}),"
        f" job_0 as ({fragment(HOOK, metadata_param='m', before=before)}),"
        f" job_1 as ({fragment(JobHook('Later', 'mail', 1, 3, 60), metadata_param='n')})"
        " select id from row"
    )
    params: dict[str, Any] = {"m": '{"traceparent": "00-aa-bb-01"}', "n": "{}"}

    def counts() -> list[int]:
        tables = ("users", "forge_event", "forge_job")
        found = [shop.conn.execute(f"select count(*) from {t}").fetchone() for t in tables]
        return [row[0] for row in found]

    with pytest.raises(psycopg.errors.UniqueViolation):
        shop.conn.execute(statement, params | {"names": ["a", "a"]})
    assert counts() == [0, 0, 0]
    ids = [str(r[0]) for r in shop.conn.execute(statement, params | {"names": ["a", "b"]})]
    assert counts() == [2, 2, 4]
    rows = shop.conn.execute(
        "select kind, queue, priority, max_attempts, state, args, metadata from forge_job"
        " where args ->> 'id' = %s order by kind desc",
        [ids[0]],
    ).fetchall()
    args = {"resource": "User", "id": ids[0], "operation": "create", "version": 1}
    assert rows == [
        ("Welcome", "mail", 1, 25, "available", {**args, "before": {"name": "a"}},
         {"traceparent": "00-aa-bb-01"}),
        ("Later", "mail", 1, 3, "scheduled", args, {}),
    ]  # fmt: skip


def test_a_unique_hook_adds_no_job_while_one_of_the_same_row_has_not_ended(shop: Any) -> None:
    with db.connect(shop.database.owner_url) as owner:
        owner.execute(
            'create table seats (tenant_id uuid, "order" text, version bigint default 1,'
            " forge_search tsvector default 'x', name text)"
        )
    before = "to_jsonb(row) - '{forge_search,tenant_id}'::text[]"
    job = jobs.job_fragment(
        "row",
        HOOK._replace(unique=True),
        "Seat",
        "create",
        metadata_param="m",
        before=before,
        key="order",
        tenant_param="forge_tenant",
    )
    event = notify.event_fragment(
        "row", "seats", "seat.created", key="order", tenant_param="forge_tenant"
    )
    statement = (
        "with row as (insert into seats values (%(forge_tenant)s, %(order)s, 7) returning *),"
        f" event as ({event}), job as ({job}) select 1 from row"
    )
    one, two = uuid.uuid4(), uuid.uuid4()

    def write(tenant: uuid.UUID, order: str) -> None:
        params = {"forge_tenant": tenant, "order": order, "m": json.dumps({"tenant": str(tenant)})}
        shop.conn.execute(statement, params)

    for tenant, order in ((one, "a"), (one, "a"), (one, "b"), (two, "a"), (two, "a")):
        write(tenant, order)
    rows = shop.conn.execute("select args, metadata, unique_key from forge_job order by id")
    assert rows.fetchall() == [
        (
            {
                "resource": "Seat",
                "id": order,
                "operation": "create",
                "version": 7,
                "before": {"order": order, "version": 7, "name": None},
            },
            {"tenant": str(tenant)},
            f"Welcome:Seat:{tenant}:{order}",
        )
        for tenant, order in ((one, "a"), (one, "b"), (two, "a"))
    ]
    events = shop.conn.execute("select tenant_id, resource_id, version from forge_event")
    assert set(events) == {(one, "a", 7), (one, "b", 7), (two, "a", 7)}
    shop.conn.execute(
        "update forge_job set state = 'completed', finalized_at = now() where args ->> 'id' = 'b'"
    )
    write(one, "b")
    assert shop.states() == {"available": 3, "completed": 1}


@pytest.mark.parametrize("key", ["", "k" * 501, "a\0"])
def test_a_unique_key_is_a_text_that_fits_an_index(shop: Any, key: Any) -> None:
    with pytest.raises(Invalid) as caught:
        shop.insert(unique=key)
    assert [error.pointer for error in caught.value.errors] == ["/unique"]


def test_a_job_of_a_unique_key_is_inserted_once_until_it_has_ended(shop: Any) -> None:
    first = shop.insert(unique="sync")
    assert shop.insert("b", unique="sync", delay=60) == first
    other = shop.insert(unique="other")
    assert len({first, other, shop.insert(), shop.insert()}) == 4
    shop.conn.execute(
        "update forge_job set state = 'cancelled', finalized_at = now() where id = %s", [first]
    )
    assert shop.insert(unique="sync") not in (first, other)


def test_a_job_may_be_inserted_inside_a_pipeline(shop: Any) -> None:
    with shop.conn.pipeline():
        job = shop.insert()
    assert shop.row(job, "state") == ("available",)


def test_many_who_insert_the_same_unique_key_at_once_get_one_job(shop: Any) -> None:
    conns = [shop.mine() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            insert = partial(jobs.insert_tx, kind="a", args={}, unique=f"k{n}")
            assert len(set(pool.map(insert, conns))) == 1
    assert shop.states() == {"available": 20}


def test_a_job_keeps_who_inserted_it_unless_it_says_otherwise(shop: Any) -> None:
    tenant = uuid.uuid4()
    with as_identity(Identity("ann", tenant=tenant)):
        job = shop.insert()
        jobs.insert_many_tx(shop.conn, [NewJob("many", {})])
        more = shop.insert(metadata={"note": 1, "user": "bob"})
        jobs.insert_many_tx(shop.conn, [NewJob("many", {}, metadata={"note": 1})])
    kept = {"user": "ann", "tenant": str(tenant)}
    assert shop.row(job, "metadata") == shop.row(job + 1, "metadata") == (kept,)
    assert shop.row(more, "metadata") == (kept | {"note": 1, "user": "bob"},)
    assert shop.row(more + 1, "metadata") == (kept | {"note": 1},)
    assert shop.row(shop.insert(), "metadata") == ({},)
    with pytest.raises(Invalid, match="discarded"):
        shop.insert(metadata={"discarded": False})


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "row; drop"},
        {"source": "Row"},
        {"metadata_param": "p)s; --"},
        {"key": 'id"'},
        {"tenant_param": "a)s"},
    ],
)
def test_a_fragment_takes_plain_names_only(wrong: dict[str, Any]) -> None:
    right = {"source": "row", "hook": HOOK, "resource": "User", "operation": "create"}
    with pytest.raises(ValueError, match="plain SQL name"):
        jobs.job_fragment(**{**right, "metadata_param": "m", **wrong})


def test_a_kind_may_have_any_characters(shop: Any) -> None:
    kind = "it's \\ 100 % {$x} \N{SNOWMAN} \n --"
    job = jobs.job_fragment("row", JobHook(kind, unique=True), kind, "create", metadata_param="m")
    row = "row as (select 1 as id, 1 as version)"
    shop.conn.execute(f"with {row}, job as ({job}) select %(m)s", {"m": "{}"})
    found = shop.conn.execute("select kind, args ->> 'resource', unique_key from forge_job")
    assert found.fetchone() == (kind, kind, f"{kind}:{kind}:1")


def test_a_client_inserts_and_commits_on_its_own(shop: Any) -> None:
    database = db.Database(shop.database.app_url)
    try:
        job = jobs.JobClient(database).insert("a", {"n": 1}, priority=4, delay=5)
        assert shop.row(job, "state", "priority") == ("scheduled", 4)
    finally:
        database.close()


def test_a_job_made_by_hand_has_no_connection() -> None:
    import datetime

    now = datetime.datetime.now(datetime.UTC)
    job = jobs.Job(1, "a", "default", {}, 1, 25, 1, {}, now, now)
    with pytest.raises(ForgeError) as caught:
        job.conn  # noqa: B018
    assert caught.value.code == "F712"


def test_jobs_that_are_made_on_the_copys_own_connection_are_an_error_and_no_hang(shop: Any) -> None:
    def made() -> Iterator[NewJob]:
        yield NewJob("a", {})
        shop.conn.execute("select 1")
        yield NewJob("a", {})

    with pytest.raises(ForgeError) as caught:
        jobs.insert_many_tx(shop.conn, made())
    assert caught.value.code == "F724"
    assert shop.states() == {}
    other = shop.mine()
    assert jobs.insert_many_tx(
        shop.conn, (NewJob("a", {"n": other.execute("select 1").rowcount}) for _ in range(3))
    )
    assert shop.states() == {"available": 3}
