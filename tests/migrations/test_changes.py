"""Each kind of change: its file leads to what a database made from scratch is, and back again."""

from __future__ import annotations

from typing import Any

import pytest
from forge_min.schema import FieldsIndex, RowCheck, UniqueFields

from migrations.world import Schema, World

pytestmark = pytest.mark.db
S = Schema()
F, D = S.field, S.define
Resources = list[Any]


def thing(*members: Any, **options: Any) -> Resources:
    return [D("Thing", *members, **options)]


def shop(*members: Any, tenant: bool = True, **options: Any) -> Resources:
    """Two tenant-scoped resources, the second with the members given."""
    account = D("Account", F("name", required=True), tenant_scoped=tenant)
    return [account, D("Order", *members, table="order", tenant_scoped=tenant, **options)]


TENANT = {"tenant_scoped": True}
A, N = F("a"), F("n", "int")
KINDS = (
    F("t", "time", default="08:30:00", min="06:00:00", sortable=True, required=True),
    F("l", "duration", default="PT36H", max="P2W", unique=True),
    F("w", "float", default=1e-7, required=True),
    F("list", "string[]", max_items=5, filterable=True),
)
PAIR = UniqueFields(("a", "n"))
STATES = {"choices": ("open", "shut")}

# name → before, after, options of diff
CHANGES: dict[str, tuple[Resources, Resources, dict[str, Any]]] = {
    "table added": (thing(A), [*thing(A), D("Other", F("b", required=True))], {}),
    "table dropped": ([*thing(A), D("Other", S.belongs_to("thing", "Thing"))], thing(A), {}),
    "tables in a circle dropped": (
        [*thing(A), D("Hen", S.belongs_to("egg", "Egg")), D("Egg", S.belongs_to("hen", "Hen"))],
        thing(A),
        {},
    ),
    "everything dropped": ([*shop(A), D("Lone", A)], [], {}),
    "table renamed": (
        thing(F("a", required=True, unique=True, min_len=2), F("n", "int", sortable=True)),
        [D("Item", F("a", required=True, unique=True, min_len=2), F("n", "int", sortable=True))],
        {"rename": ["things=items"]},
    ),
    "tenant's table renamed, with a search and a reference": (
        [*shop(A), D("Thing", F("a", searchable=True), S.belongs_to("order", "Order"), **TENANT)],
        [*shop(A), D("Item", F("a", searchable=True), S.belongs_to("order", "Order"), **TENANT)],
        {"rename": ["things=items"]},
    ),
    "referenced table and its relation renamed": (
        [*thing(A), D("Part", S.belongs_to("thing", "Thing"))],
        [D("Item", A), D("Part", S.belongs_to("item", "Item"))],
        {"rename": ["things=items", "parts.thing_id=item_id"]},
    ),
    "column added": (thing(A), thing(A, F("b")), {}),
    "required column with a default added": (
        thing(A),
        thing(A, F("state", "enum", default="open", required=True, **STATES)),
        {},
    ),
    "column with every rule added": (
        thing(A),
        thing(A, F("n", "int", min=1, max=9, index=True), F("code", unique=True, max_len=9)),
        {},
    ),
    "column dropped": (thing(A, F("b", required=True, unique=True)), thing(A), {}),
    "tenant's column dropped": (shop(A, F("b", unique=True)), shop(A), {}),
    "column renamed": (
        thing(F("old", required=True, unique=True, min_len=1), F("o2", "int", sortable=True)),
        thing(F("new", required=True, unique=True, min_len=1), F("n2", "int", sortable=True)),
        {"rename": ["things.old=new", "things.o2=n2"]},
    ),
    "tenant's column renamed and searched": (
        shop(F("old", searchable=True)),
        shop(F("new", searchable=True)),
        {"rename": ["order.old=new"]},
    ),
    "column renamed to a word of SQL, its rule changed": (
        thing(F("old", max_len=5, min_len=1, type="text")),
        thing(F("select", max_len=6, min_len=1, type="text")),
        {"rename": ["things.old=select"]},
    ),
    "two columns swap nothing but their rules": (
        thing(F("a", unique=True), F("b")),
        thing(F("a"), F("b", unique=True)),
        {},
    ),
    "string made longer": (thing(F("a", max_len=5)), thing(F("a", max_len=50)), {}),
    "string without an end": (thing(F("a", max_len=5, index=True)), thing(F("a", index=True)), {}),
    "string made shorter": (thing(F("a", max_len=50)), thing(F("a", max_len=5)), {}),
    "tenant's string made longer": (
        shop(F("a", max_len=5, min_len=1, unique=True, searchable=True)),
        shop(F("a", max_len=9, min_len=1, unique=True, searchable=True)),
        {},
    ),
    "int to bigint, with default, rules, index": (
        thing(F("n", "int", default=3, min=1, sortable=True)),
        thing(F("n", "bigint", default=4, min=1, sortable=True)),
        {},
    ),
    "decimal made wider": (
        thing(F("n", "decimal", precision=(6, 2))),
        thing(F("n", "decimal", precision=(9, 2))),
        {},
    ),
    "text to int": (thing(F("a", "text")), thing(F("a", "int")), {}),
    "int to float, with default, rules, index": (
        thing(F("n", "int", default=3, min=1, sortable=True)),
        thing(F("n", "float", default=0.5, min=0.1, max=1e-7 + 1, sortable=True)),
        {},
    ),
    "times, durations and lists added": (
        shop(A),
        shop(A, *KINDS, checks=(RowCheck("w * 2 > 0.1 and (l > l or list is None)", "no"),)),
        {},
    ),
    "a list dropped": (thing(A, F("list", "int[]", filterable=True, max_items=9)), thing(A), {}),
    "a list filtered, and shorter": (
        shop(A, F("list", "enum[]", choices=("x", "y"), max_items=9)),
        shop(A, F("list", "enum[]", choices=("x", "z"), max_items=8, filterable=True)),
        {},
    ),
    "text to list": (thing(F("a", "text")), thing(F("a", "string[]", max_items=9)), {}),
    "limits of a date added": (
        thing(F("a", "date", max="today")),
        thing(F("a", "date", min="1900-01-01", max="2100-12-31", sortable=True)),
        {},
    ),
    "limits of a datetime changed": (
        thing(F("a", "datetime", min="2000-01-01T00:00:00Z")),
        thing(F("a", "datetime", min="2000-01-01T00:00:00+01:00", max="now")),
        {},
    ),
    "date to datetime": (thing(F("a", "date")), thing(F("a", "datetime")), {}),
    "datetime to date": (thing(F("a", "datetime")), thing(F("a", "date")), {}),
    "text to json": (thing(F("a", "text")), thing(F("a", "json")), {}),
    "default added": (thing(A), thing(F("a", default="it's")), {}),
    "default changed": (thing(F("n", "int", default=1)), thing(F("n", "int", default=2)), {}),
    "default dropped": (thing(F("n", "int", default=1)), thing(N), {}),
    "made required": (thing(A), thing(F("a", required=True)), {}),
    "made optional": (thing(F("a", required=True)), thing(A), {}),
    "made required, longer, with a default": (
        thing(F("a", max_len=5)),
        thing(F("a", max_len=6, default="x", required=True)),
        {},
    ),
    "choices changed": (
        thing(F("a", "enum", choices=("x", "y"), default="x")),
        thing(F("a", "enum", choices=("x", "z"), default="z")),
        {},
    ),
    "rule added": (thing(N), thing(F("n", "int", min=1)), {}),
    "rule changed": (thing(F("n", "int", min=1)), thing(F("n", "int", min=2)), {}),
    "rule dropped": (thing(F("n", "int", min=1)), thing(N), {}),
    "string to slug": (thing(F("a", max_len=100)), thing(F("a", "slug")), {}),
    "string to url": (thing(F("a")), thing(F("a", "url")), {}),
    "string to email": (thing(F("a", max_len=100)), thing(F("a", "email")), {}),
    "unique added": (thing(A), thing(F("a", unique=True)), {}),
    "unique dropped": (thing(F("a", unique=True)), thing(A), {}),
    "unique pair added": (thing(A, N), thing(A, N, uniques=(PAIR,)), {}),
    "unique pair dropped": (
        shop(A, N, uniques=(PAIR,), soft_delete=True),
        shop(A, N, soft_delete=True),
        {},
    ),
    "unique pair with a renamed field": (
        shop(A, N, uniques=(PAIR,), indexes=(FieldsIndex(("-n", "a")),)),
        shop(
            A,
            F("m", "int"),
            uniques=(UniqueFields(("a", "m")),),
            indexes=(FieldsIndex(("-m", "a")),),
        ),
        {"rename": ["order.n=m"]},
    ),
    "check added": (thing(A, N), thing(A, N, checks=(RowCheck("n > 1 or a == 'x'", "no"),)), {}),
    "check changed": (
        shop(A, N, checks=(RowCheck("n > 1", "no"),)),
        shop(A, N, checks=(RowCheck("n * 2 > 1.5", "no"), RowCheck("n < 9", "no"))),
        {},
    ),
    "check of a renamed field": (
        thing(A, N, checks=(RowCheck("n > 1 and len(a) < 9", "no"),)),
        thing(A, F("m", "int"), checks=(RowCheck("m > 1 and len(a) < 9", "no"),)),
        {"rename": ["things.n=m"]},
    ),
    "index of several fields added": (
        thing(A, N),
        thing(A, N, indexes=(FieldsIndex(("a", "-n")),)),
        {},
    ),
    "index of several fields in another order": (
        shop(A, N, indexes=(FieldsIndex(("a", "-n")),)),
        shop(A, N, indexes=(FieldsIndex(("a", "n")),)),
        {},
    ),
    "index added": (thing(A), thing(F("a", index=True)), {}),
    "index changed": (thing(F("a", index=True)), thing(F("a", sortable=True)), {}),
    "index dropped": (thing(F("a", index=True)), thing(A), {}),
    "relation added": (
        [*thing(A), D("Part", A)],
        [*thing(A), D("Part", A, S.belongs_to("thing", "Thing", on_delete="cascade"))],
        {},
    ),
    "relation dropped": (
        [*thing(A), D("Part", S.belongs_to("thing", "Thing"))],
        [*thing(A), D("Part")],
        {},
    ),
    "on_delete changed": (
        [*thing(A), D("Part", S.belongs_to("thing", "Thing"))],
        [*thing(A), D("Part", S.belongs_to("thing", "Thing", on_delete="set_null"))],
        {},
    ),
    "tenant's on_delete changed": (
        shop(S.belongs_to("account", "Account")),
        shop(S.belongs_to("account", "Account", on_delete="set_null")),
        {},
    ),
    "relation made unique": (
        [*thing(A), D("Part", S.belongs_to("thing", "Thing"))],
        [*thing(A), D("Part", S.belongs_to("thing", "Thing", unique=True))],
        {},
    ),
    "soft delete added to what is unique": (
        thing(F("a", unique=True)),
        thing(F("a", unique=True), soft_delete=True),
        {},
    ),
    "soft delete dropped": (
        shop(F("a", unique=True), soft_delete=True),
        shop(F("a", unique=True)),
        {},
    ),
    "times added": (thing(A), thing(A, timestamps=True), {}),
    "search added": (thing(A), thing(F("a", searchable=True)), {}),
    "search changed": (
        thing(F("a", searchable=True), F("b")),
        thing(F("a", searchable=True), F("b", "text", searchable=True)),
        {},
    ),
    "substring search added": (
        shop(F("a", max_len=9, searchable=True)),
        shop(F("a", max_len=9, filterable=True, searchable="substring")),
        {},
    ),
    "substring search dropped": (
        thing(F("a", "text", filterable=True, searchable="substring")),
        thing(F("a", "text", filterable=True, searchable=True)),
        {},
    ),
    "column with a substring search renamed and made longer": (
        thing(F("old", max_len=5, filterable=True, searchable="substring")),
        thing(F("new", max_len=9, filterable=True, searchable="substring")),
        {"rename": ["things.old=new"]},
    ),
    "key with a substring search added": (
        thing(A),
        [*thing(A), D("Code", F("c", primary_key=True, filterable=True, searchable="substring"))],
        {},
    ),
    "search dropped": (shop(F("a", searchable=True)), shop(A), {}),
    "many to many added": (
        [*thing(A), D("Tag", F("name", "slug", primary_key=True))],
        [
            D("Thing", A, S.many_to_many("tags", "Tag")),
            D("Tag", F("name", "slug", primary_key=True)),
        ],
        {},
    ),
    "tenants' many to many dropped": (
        shop(A, S.many_to_many("accounts", "Account")),
        shop(A),
        {},
    ),
    "many to many renamed": (
        [D("Thing", A, S.many_to_many("tags", "Tag")), D("Tag", A)],
        [D("Thing", A, S.many_to_many("tags", "Tag", "labels")), D("Tag", A)],
        {"rename": ["things_tags=labels"]},
    ),
    "tenant's table added": (thing(A), [*thing(A), *shop(S.belongs_to("account", "Account"))], {}),
    "tenants given up": (
        shop(F("a", unique=True, sortable=True), S.belongs_to("account", "Account")),
        shop(F("a", unique=True, sortable=True), S.belongs_to("account", "Account"), tenant=False),
        {},
    ),
    "natural key made longer where it is referred to": (
        [
            D("Code", F("code", max_len=2, primary_key=True)),
            D("Thing", S.belongs_to("code", "Code", required=True)),
        ],
        [
            D("Code", F("code", max_len=3, primary_key=True)),
            D("Thing", S.belongs_to("code", "Code", required=True)),
        ],
        {},
    ),
    "longest names": (
        [D("Long", F("l" * 63, unique=True), F("k" * 63, required=True), table="t" * 63)],
        [D("Long", F("l" * 63, "text", sortable=True), F("m" * 63, required=True), table="u" * 63)],
        {"rename": ["t" * 63 + "=" + "u" * 63, "u" * 63 + "." + "k" * 63 + "=" + "m" * 63]},
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CHANGES)
def test_the_way_there_and_back(world: World, name: str):
    before, after, options = CHANGES[name]
    world.go(*before)
    start = world.shape()
    assert start == world.shape_of(*before)
    world.go(*after, allow_destructive=True, **options)
    assert world.shape() == world.shape_of(*after)
    world.down()
    assert world.shape() == start
    if world.pg_dump == "":
        pytest.skip("there is no pg_dump: compared by our own query alone")
