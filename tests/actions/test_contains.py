"""`contains` on large tables: a trigram index serves it, or other conditions, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from forge_min import db
from forge_min.actions import AggregateQuery, Column, ListQuery, Registry, Relation
from forge_min.actions import query as queries
from forge_min.actions.reader import ReadActions
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.errors import BadRequest
from forge_min.testing import fresh_database

from bookshop import KEY, NORTH, SOUTH, VERSION, resource

pytestmark = pytest.mark.db

ROWS = 200_000
STAFF = Identity(user="sue", tenant=NORTH.tenant, roles=frozenset({"staff"}))
ODD = ["100% wool", "100 wool", "snake_case", "snakeXcase", "back\\slash", "backslash", "İstanbul"]
TABLES = f"""
create extension pg_trgm;
create table towns (
  id uuid primary key, name text not null, version bigint not null default 1);
insert into towns select md5(n::text)::uuid, 'town ' || n from generate_series(1, 20) n;
create unlogged table cars (
  id uuid primary key, tenant_id uuid not null, name varchar(80), plate text, secret text,
  n integer not null, parts text[], town_id uuid, version bigint not null default 1);
insert into cars (id, tenant_id, name, plate, secret, n, parts, town_id)
  select lpad(to_hex(n), 32, '0')::uuid,
    case when n % 1000 = 0 then '{SOUTH.tenant}' else '{NORTH.tenant}' end::uuid,
    'car ' || left(md5(n::text), 8), left(md5('p' || n), 8), 'secret', n % 10000,
    case when n < 100 then array['wheel ' || n] end, md5((n % 20 + 1)::text)::uuid
  from generate_series(1, {ROWS}) n;
create unlogged table rides (
  id uuid primary key, tenant_id uuid not null, car_id uuid, version bigint not null default 1);
insert into rides select id, tenant_id, id from cars;
create index cars_name_trgm on cars using gin (name gin_trgm_ops);
create index on cars (tenant_id, n);
create index on cars using gin (parts);
""" + "".join(
    f"create view {table}_of_tenant as select * from {table}"
    " where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;\n"
    for table in ("cars", "rides")
)
TOWNS = resource(
    "Town", KEY, Column("name", "string", filterable=True), VERSION, tenant_scoped=False
)
CARS = resource(
    "Car",
    KEY,
    Column("name", "string", filterable=True, has_trigrams=True, sortable=True),
    Column("plate", "string", filterable=True, aggregatable=True),
    Column("secret", "string", filterable=True, visible_to=("staff",)),
    Column("n", "int", nullable=False, filterable=True, sortable=True),
    Column("parts", "string[]", filterable=True),
    Column("town_id", "uuid"),
    VERSION,
    relations=(Relation("town", "belongs_to", "towns", "town_id"),),
)
RIDES = resource(
    "Ride",
    KEY,
    Column("car_id", "uuid"),
    VERSION,
    relations=(Relation("car", "belongs_to", "cars", "car_id"),),
)


class Garage:
    """Readers of the tables by topic, as in a registry."""

    secret = b"of a garage"
    advises = Registry.advises

    def __init__(self, database: db.Database) -> None:
        self.database, self.actions = database, dict[str, Any]()
        for each in (TOWNS, CARS, RIDES):
            actions: Any = type(each.name, (ReadActions,), {"resource": each})(database)
            actions.registry = self
            self.actions[each.topic] = actions

    def __getitem__(self, topic: str) -> Any:
        return self.actions[topic]


@pytest.fixture(scope="module")
def garage(server: EmbeddedServer) -> Iterator[Garage]:
    with fresh_database(server) as made:
        with db.connect(made.owner_url) as owner:
            owner.execute(TABLES)
            for n, name in enumerate(ODD):
                sql = "insert into cars (id, tenant_id, name, n) values (%s, %s, %s, 0)"
                owner.execute(sql, [UUID(int=ROWS + 1 + n), NORTH.tenant, name])
            owner.execute("vacuum analyze")
        database = db.Database(made.app_url)
        try:
            yield Garage(database)
        finally:
            database.close()


@contextmanager
def request(identity: Identity = NORTH) -> Iterator[None]:
    """Set the identity and the limit of reads, as in a request."""
    token = db.read_timeout.set(5.0)
    try:
        with as_identity(identity):
            yield
    finally:
        db.read_timeout.reset(token)


def names(actions: Any, **filters: Any) -> list[str]:
    conditions = {key.replace("__", "[") + "]" * ("__" in key): v for key, v in filters.items()}
    query = ListQuery.of(actions.resource, conditions, limit=100)
    return [row.name for row in actions.list(query).rows]


def refusal(call: Callable[[], object]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        call()
    assert caught.value.code == "F650"
    return caught.value


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("sort", ["", "name", "-n"])
def test_a_trigram_index_serves_the_list(garage: Garage, sort: str, counted: bool) -> None:
    query = ListQuery.of(CARS, {"name[contains]": "3C59dC"}, sort=sort, page=1 if counted else None)
    sql, params = queries.statement(CARS, query)
    with request():
        garage["cars"].list(query)
        conn = garage["cars"].connection()
        params |= {"forge_tenant": NORTH.tenant}
        plan = db.read(conn, f"explain {sql}", params, NORTH.tenant)
        assert names(garage["cars"], name__contains="C59dC04")
    text = "\n".join(line for (line,) in plan)
    assert text.count("Bitmap Index Scan on cars_name_trgm") == 1 + counted
    assert "Seq Scan" not in text


def test_wildcards_are_plain_characters(garage: Garage) -> None:
    with request():
        for word in ("100%", "00% woo", "snake_c", "_case", "back\\", "k\\slash", "STANBUL"):
            expected = [n for n in ODD if word.lower() in n.lower()]
            assert names(garage["cars"], name__contains=word) == expected, word


def test_without_the_index_or_a_trigram_it_is_refused(garage: Garage) -> None:
    with request():
        error = refusal(lambda: names(garage["cars"], plate__contains="abc"))
        assert error.message.startswith("plate: contains would search more than 100000 rows")
        assert 'searchable="substring"' in error.message
        [problem] = error.errors
        assert (problem.pointer, problem.code) == ("/plate[contains]", "too_slow")
        for word in ("ab", "%", "ab_c", "a-b c", "   ", "éa", ""):
            error = refusal(lambda word=word: names(garage["cars"], name__contains=word))
            assert error.message.startswith("name: contains needs three letters or digits"), word


def test_letters_are_those_of_the_database(garage: Garage) -> None:
    """The database of this test has LC_CTYPE C, in which pg_trgm knows ASCII letters."""
    with garage.database.connection() as conn:
        ((known,),) = conn.execute("select cardinality(show_trgm('привет')) > 0").fetchall()
    with request():
        if known:
            assert names(garage["cars"], name__contains="привет") == []
        else:
            refusal(lambda: names(garage["cars"], name__contains="привет"))


def test_three_letters_in_a_row_anywhere_are_enough(garage: Garage) -> None:
    with request():
        for word in ("10€ wool", "wool 10€", "a€b wool", "é-é-wool"):
            assert names(garage["cars"], name__contains=word) == [], word
        for word in ("10€ ab", "ab€ 10", "a€b", "a€b€c"):
            refusal(lambda word=word: names(garage["cars"], name__contains=word))


def test_every_reading_action_refuses_it_before_the_first_row(garage: Garage) -> None:
    cars, query = garage["cars"], ListQuery.of(CARS, {"plate[contains]": "abc"})
    with request():
        refusal(lambda: cars.batches(query))
        refusal(lambda: cars.stream(query))
        refusal(lambda: cars.aggregate(AggregateQuery(query)))
        refusal(lambda: cars.list(ListQuery(query.filters, counted=True)))
        refusal(lambda: cars.list(ListQuery(query.filters, page=1)))


def test_jobs_and_commands_may_read_every_row(garage: Garage) -> None:
    query = ListQuery.of(CARS, {"plate[contains]": "abcd"})
    with as_identity(NORTH):
        found = list(garage["cars"].stream(query))
        assert found and all("abcd" in row.plate for row in found)


def test_other_conditions_or_a_small_part_of_a_tenant_allow_it(garage: Garage) -> None:
    with request():
        assert names(garage["cars"], plate__contains="a", n=7)
        assert names(garage["cars"], plate__contains="", name__contains="c59dc04")
        refusal(lambda: names(garage["cars"], plate__contains="a", n__gte=1))
        assert names(garage["cars"], parts__contains="wheel 7")
    with request(SOUTH):
        assert names(garage["cars"], plate__contains="a")


def test_a_related_row_is_found_in_a_small_table_or_by_its_index(garage: Garage) -> None:
    def found(topic: str, key: str, value: str) -> int:
        actions = garage[topic]
        return len(actions.list(ListQuery.of(actions.resource, {key: value})).rows)

    with request():
        assert found("cars", "town.name[contains]", "town 1")
        assert found("rides", "car.name[contains]", "c59dc04")
        error = refusal(lambda: found("rides", "car.plate[contains]", "abc"))
        assert error.message.startswith("car.plate: ")
    with request(SOUTH):
        assert found("rides", "car.plate[contains]", "a")


def test_a_hidden_column_is_unknown_and_not_slow(garage: Garage) -> None:
    with request():
        with pytest.raises(BadRequest) as caught:
            names(garage["cars"], secret__contains="abc")
        assert caught.value.code != "F650" and "is not a filter here" in caught.value.message
    with request(STAFF):
        assert refusal(lambda: names(garage["cars"], secret__contains="abc"))
