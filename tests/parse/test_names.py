"""Names that follow from names."""

from __future__ import annotations

import pytest
from forge_min.parse import edges_of
from forge_min.parse.ir import attribute_of
from forge_min.parse.names import constraint_name, plural, snake
from hypothesis import given
from hypothesis import strategies as st

from .helpers import IMPORT, codes, parse, parse_parts, resource


@pytest.mark.parametrize(
    ("word", "many"),
    [
        ("country", "countries"),
        ("airport", "airports"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("day", "days"),
        ("branch", "branches"),
        ("dish", "dishes"),
        ("boarding_pass", "boarding_passes"),
        ("y", "ies"),
    ],
)
def test_the_plural_rule(word: str, many: str) -> None:
    assert plural(word) == many


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Country", "country"),
        ("BoardingPass", "boarding_pass"),
        ("HTTPServer", "http_server"),
        ("Airport2Go", "airport2_go"),
        ("A", "a"),
    ],
)
def test_the_folder_of_a_name(name: str, folder: str) -> None:
    assert snake(name) == folder


def test_table_and_path_follow_from_the_name_unless_a_plural_is_given() -> None:
    text = IMPORT + "p = schema.define('BoardingPass')"
    (found,) = parse(boarding_pass=text).resources
    assert (found.folder, found.table, found.path) == (
        "boarding_pass",
        "boarding_passes",
        "boarding-passes",
    )
    text = IMPORT + "p = schema.define('BoardingPass', plural='pass_papers')"
    (found,) = parse(boarding_pass=text).resources
    assert (found.table, found.path) == ("pass_papers", "pass-papers")


def test_words_of_sql_may_name_fields_and_tables() -> None:
    found = resource("schema.string('select')", "schema.int('order')", "schema.bool('user')")
    assert [field.name for field in found.fields] == ["select", "order", "user"]
    (order,) = parse(order=IMPORT + "o = schema.define('Order', plural='table')").resources
    assert order.table == "table"


def test_words_of_python_may_name_fields_and_resources() -> None:
    found = resource("schema.string('class')", "schema.bool('is')", "schema.int('self')")
    assert [field.column for field in found.fields] == ["class", "is", "self"]
    assert [attribute_of(field.name) for field in found.fields] == ["class_", "is_", "self"]
    text = IMPORT + "x = schema.define('Class', schema.belongs_to('Class'))"
    (found,) = parse(class_=text).resources
    assert (found.folder, found.table, found.path) == ("class_", "classes", "classes")
    assert found.relations[0].name == "class"
    assert codes(parse(**{"class": text})) == ["F112"]


def test_a_primary_key_takes_the_place_of_id() -> None:
    found = resource("schema.int('x')", "schema.string('code', primary_key=True)")
    assert found.key.name == "code"
    assert [column.column for column in found.columns] == ["code", "x", "version"]
    assert found.key.required and found.key.unique and found.key.immutable
    assert resource("schema.bigint('id', primary_key=True)").key.type == "bigint"
    assert codes(parse_parts("schema.int('id')", "schema.uuid('x', primary_key=True)")) == ["F120"]


def test_relations_are_named_after_their_targets() -> None:
    found = resource(
        "schema.belongs_to('Thing', 'boss')",
        "schema.has_many('Thing', via='boss')",
        "schema.has_one('Thing', via='boss')",
        "schema.many_to_many('Thing', 'friends')",
    )
    edges = edges_of(found, {"Thing": found})
    assert [edge.name for edge in edges] == ["boss", "things", "thing", "friends"]
    across = edges[-1]
    assert (across.join, across.field) == ("things_friends", "friend_ids")
    assert (across.column, across.target_column) == ("thing_id", "other_thing_id")


def test_names_of_63_bytes_are_allowed() -> None:
    assert resource(f"schema.string({'x' * 63!r})").columns[1].column == "x" * 63
    (member,) = resource(f"schema.belongs_to('Thing', {'x' * 60!r})").members
    assert member.column == "x" * 60 + "_id"


def test_a_relation_is_named_after_its_target() -> None:
    (relation,) = resource("schema.belongs_to('Thing')").relations
    assert (relation.name, relation.column) == ("thing", "thing_id")


@given(st.text("ab_", min_size=1, max_size=63), st.text("ab_", min_size=1, max_size=63))
def test_constraint_names_fit_and_do_not_depend_on_the_run(table: str, column: str) -> None:
    name = constraint_name(table, column, "fkey")
    assert len(name) <= 63 and name.endswith("_fkey")
    assert name == constraint_name(table, column, "fkey")


def test_long_constraint_names_that_begin_alike_differ() -> None:
    names = {constraint_name("t" * 63, f"{'c' * 60}{i}", "key") for i in range(50)}
    assert len(names) == 50


def test_the_schema_language_is_found_under_the_name_that_its_import_gives_it() -> None:
    head = "'doc'\nfrom __future__ import annotations\nfrom forge_min import schema as s\n"
    parsed = parse(thing=head + "t: object = s.define('Thing', s.uuid('x'))")
    assert parsed.diagnostics == ()
    assert parsed.resources[0].fields[0].type == "uuid"


def test_no_table_has_a_name_that_postgresql_finds_in_its_own_catalog_first() -> None:
    text = IMPORT + "x = schema.define('Thing', schema.int('pg_rating'), plural={!r})"
    assert codes(parse(thing=text.format("pg_class"))) == ["F120"]
    assert codes(parse(thing=text.format("ratings"))) == []
    assert codes(parse_parts("schema.many_to_many('Thing', table='pg_class')")) == ["F120"]
    assert codes(parse(pg_class=IMPORT + "x = schema.define('PgClass')")) == ["F120"]
