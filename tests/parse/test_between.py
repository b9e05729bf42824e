"""What can be wrong between two schema files, and what is right there."""

from __future__ import annotations

import pytest
from forge_min.parse.diagnostic import Source
from forge_min.parse.project import parse_sources

from .helpers import IMPORT, codes, marked, parse
from .helpers import Parsed as Result


def two(thing: str, other: str) -> Result:
    """The result for the resources Thing and Other with these parts."""
    text = IMPORT + "x = schema.define('{}', {})"
    return parse(thing=text.format("Thing", thing), other=text.format("Other", other))


TENANT = "schema.tenant_scoped()"
TO_THING = "schema.belongs_to('Thing')"
TWO = "schema.belongs_to('Thing', 'origin'), schema.belongs_to('Thing', 'goal')"
REPORT = "schema.int('x', aggregatable=True), schema.report('sizes', ['x'])"
MISTAKES = [
    # parts of Thing, parts of Other, codes, marked text of the first
    ("schema.has_many('Other')", "schema.int('x')", ["F140"], "'Other'"),
    ("schema.has_many('Other')", TWO, ["F140"], "'Other'"),
    ("schema.has_one('Other', via='orgin')", TWO, ["F140"], "'orgin'"),
    ("schema.has_one('Other')", "schema.belongs_to('Other')", ["F140"], "'Other'"),
    (f"{TENANT}", TO_THING, ["F145"], "'Thing'"),
    (f"{TENANT}, schema.many_to_many('Other')", "schema.int('x')", ["F145"], "'Other'"),
    ("schema.many_to_many('Other')", TENANT, ["F145"], "'Other'"),
    (
        "schema.many_to_many('Other', table='pairs')",
        "schema.many_to_many('Other', table='pairs')",
        ["F144"],
        "'pairs'",
    ),
    (
        "schema.many_to_many('Other', 'a', 'pairs'), schema.many_to_many('Other', 'b', 'pairs')",
        "schema.int('x')",
        ["F144"],
        "'pairs'",
    ),
    (
        "schema.many_to_many('Other', table='pairs')",
        "schema.many_to_many('Thing', 'a', 'pairs'), schema.many_to_many('Thing', 'b', 'pairs')",
        ["F144"],
        "'pairs'",
    ),
    ("schema.many_to_many('Other', table='others')", "schema.int('x')", ["F144"], "'others'"),
    ("schema.many_to_many('Other', 'x')", "plural='things_x'", ["F144"], "'x'"),
    (REPORT, REPORT, ["F157"], "'sizes'"),
]


@pytest.mark.parametrize(("thing", "other", "expected", "text"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_between_two_files_is_one_diagnostic(
    thing: str, other: str, expected: list[str], text: str
) -> None:
    parsed = two(thing, other)
    assert codes(parsed) == expected
    assert marked(parsed.diagnostics[0]) == text
    assert parsed.diagnostics[0].hint


RIGHT = [
    ("schema.has_many('Other')", TO_THING),
    ("schema.has_many('Other', via='origin'), schema.has_one('Other', via='goal')", TWO),
    (f"{TENANT}, schema.has_many('Other')", f"{TO_THING}, {TENANT}"),
    ("schema.has_many('Other')", f"{TO_THING}, {TENANT}"),
    (f"{TENANT}, schema.many_to_many('Other')", TENANT),
    ("schema.many_to_many('Other')", "schema.many_to_many('Thing')"),
    (
        "schema.many_to_many('Other', table='pairs')",
        "schema.many_to_many('Thing', table='pairs')",
    ),
]


@pytest.mark.parametrize(("thing", "other"), RIGHT, ids=range(len(RIGHT)))
def test_relations_that_meet_are_no_mistake(thing: str, other: str) -> None:
    parsed = two(thing, other)
    assert parsed.diagnostics == ()
    assert len(parsed.resources) == 2


def test_a_has_one_makes_the_relation_that_leads_back_unique() -> None:
    parsed = two("schema.has_one('Other', via='goal')", TWO)
    other, _ = sorted(parsed.resources, key=lambda resource: resource.name)
    assert [(r.name, r.unique) for r in other.relations] == [("origin", False), ("goal", True)]


def test_which_relation_leads_back_is_asked_with_its_answers() -> None:
    (found,) = two("schema.has_many('Other')", TWO).diagnostics
    assert found.message == '"Other" has 2 belongs_to("Thing"), but exactly one is needed'
    assert found.hint == 'choose one: via="origin" or via="goal"'
    (found,) = two("schema.has_many('Other', via='orgin')", TWO).diagnostics
    assert found.hint == 'did you mean "origin"?'
    (found,) = two("schema.has_many('Other', via='goal')", "schema.int('x')").diagnostics
    assert found.hint == "add it to resources/other/schema.py"


def test_what_may_come_of_another_mistake_is_not_reported() -> None:
    assert codes(two("schema.has_many('Other')", "schema.belongs_to('Thing', 'X')")) == ["F120"]
    assert codes(two("schema.has_many('Other', 'X')", "schema.int('x')")) == ["F140", "F120"]


def test_a_relation_is_looked_at_beside_one_that_leads_nowhere() -> None:
    parsed = two("schema.has_many('Nobody'), schema.has_many('Other')", "schema.int('x')")
    assert codes(parsed) == ["F140", "F140"]


def test_the_columns_of_a_join_table_have_names_that_fit() -> None:
    text = IMPORT + "x = schema.define({!r}, {} plural={!r})"
    tenant = text.format("Tenant", "", "tenants")
    thing = text.format("Thing", "schema.many_to_many('Tenant'),", "things")
    assert codes(parse(tenant=tenant, thing=thing)) == ["F120"]
    name = "T" + "x" * 60
    long = text.format(name, f"schema.many_to_many('{name}', 'friends'),", "long_ones")
    assert codes(parse(**{name.lower(): long})) == ["F120", "F120"]


BESIDE = [
    ("schema.string('X'), schema.has_many('Other')", "schema.int('x')", ["F120", "F140"]),
    ("schema.int('x', mn=1), schema.belongs_to('Other')", TENANT, ["F105", "F145"]),
    (
        "schema.int('x', max=LIMIT), schema.has_one('Other')",
        "schema.int('X')",
        ["F103", "F120", "F140"],
    ),
    ("schema.many_to_many('Other', 'X')", "schema.int('x'), plural='Others'", ["F120", "F120"]),
]


@pytest.mark.parametrize(("thing", "other", "expected"), BESIDE, ids=range(len(BESIDE)))
def test_mistakes_between_files_are_shown_beside_those_within_one(
    thing: str, other: str, expected: list[str]
) -> None:
    assert sorted(codes(two(thing, other))) == expected


UNREAD = ["schema.belongs_to('Thing', LIMIT)", "schema.belongs_to(LIMIT)", "*PARTS", "TENANT()"]


@pytest.mark.parametrize("part", UNREAD)
def test_nothing_is_said_of_relations_to_a_file_that_was_not_read_whole(part: str) -> None:
    (found,) = two("schema.has_many('Other', via='origin')", part).diagnostics
    assert found.code == "F103"


def test_a_role_that_the_project_does_not_have_is_marked_with_the_nearest() -> None:
    text = IMPORT + (
        'x = schema.define("Thing", schema.permission("read", ["anybody", "nurze"]),\n'
        '    schema.string("note", visible_to=["nurse"], writable_by=("docter", "nurse")))\n'
    )
    source = Source("resources/thing/schema.py", text.encode())
    found = parse_sources([source], ["nurse", "doctor"]).diagnostics
    assert [(one.code, marked(one), one.hint) for one in found] == [
        ("F134", '"nurze"', 'did you mean "nurse"?'),
        ("F134", '"docter"', 'did you mean "doctor"?'),
    ]
    assert parse(thing=text).diagnostics == (), "without auth.roles any role may be named"
