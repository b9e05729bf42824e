"""Every mistake that a schema file can hold: its code, and the place that is marked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from forge_min.parse import Diagnostic, parse_project

from .helpers import IMPORT, codes, marked, parse, parse_parts

MISTAKES = [
    # part of a resource, code, marked text
    ('schema.strng("x")', "F105", "schema.strng"),
    ('schema.Resource("X", ())', "F105", "schema.Resource"),
    ('schema.string("x", max_len=LIMIT)', "F103", "LIMIT"),
    ('schema.string("x", label=f"a{1}")', "F103", 'f"a{1}"'),
    ('schema.string("x", label="a" + "b")', "F103", '"a" + "b"'),
    ('schema.string("x", label=open("f").read())', "F103", 'open("f").read()'),
    ("schema.int('x', default=-True)", "F103", "-True"),
    ("schema.enum('x', [*CHOICES])", "F103", "*CHOICES"),
    ("schema.enum('x', [c for c in 'ab'])", "F103", "[c for c in 'ab']"),
    ('schema.string("x", **options)', "F103", "options"),
    ("*fields", "F103", "*fields"),
    ("lambda: 1", "F103", "lambda: 1"),
    ('schema.string("x", max_length=3)', "F105", "max_length=3"),
    ('schema.int("x", searchable=True)', "F105", "searchable=True"),
    ('schema.string("x", searchable="words")', "F107", '"words"'),
    ('schema.enum("x", ["a"], filterable=True, searchable="substring")', "F107", '"substring"'),
    ('schema.string("x", searchable="substring")', "F159", '"substring"'),
    ('schema.string("x", required="yes")', "F107", '"yes"'),
    ('schema.string("x", required=1)', "F107", "1"),
    ('schema.int("x", max=True)', "F107", "True"),
    ('schema.int("x", max=1.5)', "F107", "1.5"),
    ('schema.string("x", default=3)', "F107", "3"),
    ('schema.bool("x", default=1)', "F107", "1"),
    ('schema.string(b"x")', "F107", 'b"x"'),
    ('schema.enum("x", "abc")', "F107", '"abc"'),
    ('schema.decimal("x", precision=[9, 2])', "F107", "[9, 2]"),
    ('schema.decimal("x", precision=(9, 2, 1))', "F107", "(9, 2, 1)"),
    ('schema.belongs_to("Thing", on_delete="forget")', "F107", '"forget"'),
    ("schema.Hooks()", "F107", "schema.Hooks()"),
    ('"x"', "F107", '"x"'),
    ("schema.with_hooks(schema.timestamps())", "F107", "schema.timestamps()"),
    ("schema.string()", "F107", "schema.string"),
    ("schema.belongs_to()", "F107", "schema.belongs_to"),
    ("schema.with_hooks()", "F107", "schema.with_hooks"),
    ('schema.string("x", "y")', "F107", '"y"'),
    ('schema.string("x", name="y")', "F107", '"y"'),
    ('schema.string("X")', "F120", '"X"'),
    ('schema.string("é")', "F120", '"é"'),
    ('schema.string("")', "F120", '""'),
    ('schema.string("a b")', "F120", '"a b"'),
    ('schema.string("x; drop table t")', "F120", '"x; drop table t"'),
    ('schema.string("id")', "F120", '"id"'),
    ('schema.int("version")', "F120", '"version"'),
    ('schema.datetime("created_at")', "F120", '"created_at"'),
    ('schema.string("forge_x")', "F120", '"forge_x"'),
    ('schema.string("ctid")', "F120", '"ctid"'),
    ('schema.belongs_to("Thing", "tenant")', "F120", '"tenant"'),
    ('schema.string("sort", filterable=True)', "F120", "True"),
    ('schema.many_to_many("Thing", "version")', "F120", '"version"'),
    ('schema.many_to_many("Thing", "tenant_id")', "F120", '"tenant_id"'),
    ('schema.string("deleted_at")', "F120", '"deleted_at"'),
    ('schema.string("include", filterable=True)', "F120", "True"),
    ('schema.string("sort", primary_key=True)', "F120", '"sort"'),
    (f'schema.string("{"x" * 64}")', "F120", f'"{"x" * 64}"'),
    (f'schema.belongs_to("Thing", "{"x" * 61}")', "F120", f'"{"x" * 61}"'),
    ('schema.string("x", min_len=3, default="ab")', "F125", '"ab"'),
    ('schema.string("x", max_len=1, default="ab")', "F125", '"ab"'),
    ('schema.int("x", min=3, default=2)', "F125", "2"),
    ('schema.int("x", max=1, default=2)', "F125", "2"),
    ('schema.int("x", default=2147483648)', "F125", "2147483648"),
    ('schema.int("x", default=-2147483649)', "F125", "-2147483649"),
    ('schema.decimal("x", default="1e3")', "F125", '"1e3"'),
    ('schema.decimal("x", default="NaN")', "F125", '"NaN"'),
    ('schema.decimal("x", default="٣")', "F125", '"٣"'),
    ('schema.decimal("x", default="1.\\n")', "F125", '"1.\\n"'),
    ('schema.decimal("x", precision=(3, 1), default="1.25")', "F125", '"1.25"'),
    ('schema.decimal("x", precision=(3, 1), default="123.0")', "F125", '"123.0"'),
    ('schema.decimal("x", precision=(3, 1), default=123)', "F125", "123"),
    ('schema.decimal("x", min=1, default="0.5")', "F125", '"0.5"'),
    ('schema.uuid("x", default="1234")', "F125", '"1234"'),
    ('schema.uuid("x", default="{2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10}")', "F125", None),
    ('schema.date("x", default="2026-02-30")', "F125", '"2026-02-30"'),
    ('schema.date("x", default="20260201")', "F125", '"20260201"'),
    ('schema.datetime("x", default="now")', "F125", '"now"'),
    ('schema.datetime("x", default="2026-01-01T00:00:00")', "F125", None),
    ('schema.datetime("x", default="0001-01-01T00:00:00+14:00")', "F125", None),
    ('schema.enum("x", ["a", "b"], default="c")', "F125", '"c"'),
    ('schema.int("x", min=4, max=3)', "F127", "4"),
    ('schema.string("x", min_len=4, max_len=3)', "F127", "4"),
    ('schema.slug("x", default="A b")', "F125", '"A b"'),
    ('schema.slug("x", max_len=3, default="abcd")', "F125", '"abcd"'),
    (f'schema.slug("x", default="{"a" * 101}")', "F125", None),
    ('schema.email("x", default="nobody")', "F125", '"nobody"'),
    ('schema.email("x", default="a@b@example.org")', "F125", None),
    ('schema.url("x", default="javascript:alert(1)")', "F125", '"javascript:alert(1)"'),
    ('schema.url("x", default="http://")', "F125", '"http://"'),
    ('schema.bigint("x", default=9223372036854775808)', "F125", None),
    ('schema.datetime("x", default="2026-01-01x00:00:00+00:00")', "F125", None),
    ('schema.string("x", pattern="[a-z]", default="A")', "F125", '"A"'),
    ('schema.string("x", pattern="[a-z]", default="ab")', "F125", '"ab"'),
    ('schema.slug("x", min_len=101)', "F127", "101"),
    ('schema.email("x", max_len=321)', "F127", "321"),
    ('schema.bigint("x", min=-9223372036854775809)', "F127", None),
    (f'schema.int("x", min=0x1{"0" * 9000}, max=-0x1{"0" * 9000})', None, None),
    ('schema.int("x", max=2147483648)', "F127", "2147483648"),
    (f'schema.int("x", max=0x1{"0" * 9000})', "F127", None),
    ('schema.string("x", max_len=0)', "F127", "0"),
    ('schema.string("x", max_len=10485761)', "F127", "10485761"),
    ('schema.string("x", min_len=-1)', "F127", "-1"),
    ('schema.decimal("x", precision=(2, 3))', "F127", "(2, 3)"),
    ('schema.decimal("x", precision=(0, 0))', "F127", "(0, 0)"),
    ('schema.decimal("x", precision=(4, 2), max=100)', "F127", "100"),
    ('schema.enum("x")', "F128", "schema.enum"),
    ('schema.enum("x", [])', "F128", "[]"),
    ('schema.enum("x", ["a", ""])', "F128", '["a", ""]'),
    ('schema.enum("x", ["a", "a"])', "F128", '["a", "a"]'),
    ('schema.enum("x", ["a", 1])', "F107", '["a", 1]'),
    ('schema.string("x", label={"a": []})', "F107", '{"a": []}'),
    ('schema.string("x", label={[]})', "F103", "{[]}"),
    ('schema.define("Thing")', "F107", 'schema.define("Thing")'),
    ("schema.with_hooks(schema.Hooks(after_create=[schema.JobRef()]))", "F107", "schema.JobRef"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("send it")]))', "F112", '"send it"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("sendIt")]))', "F112", '"sendIt"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("None")]))', "F112", '"None"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("WORKERS")]))', "F112", '"WORKERS"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", "b c")]))', "F134", '"b c"'),
    ('schema.string("x", pattern="(a+)+")', "F133", '"(a+)+"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", priority=5)]))', "F127", "5"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", max_attempts=0)]))', "F127", "0"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", delay=-1)]))', "F127", "-1"),
    ('schema.belongs_to("Think")', "F140", '"Think"'),
    ('schema.belongs_to("thing")', "F112", '"thing"'),
    ('schema.belongs_to("Thing", required=True, on_delete="set_null")', "F140", '"set_null"'),
    ('schema.has_many("Think")', "F140", '"Think"'),
    ('schema.many_to_many("Think", "thinks")', "F140", '"Think"'),
    ('schema.has_one("thing")', "F112", '"thing"'),
    ('schema.has_many("Thing")', "F140", '"Thing"'),
    ('schema.has_one("Thing", via="parent")', "F140", '"parent"'),
    ('schema.many_to_many("Thing", table="things")', "F144", '"things"'),
    ('schema.many_to_many("Thing", table="Things")', "F120", '"Things"'),
    ('schema.many_to_many("Thing", table="forge_things")', "F120", '"forge_things"'),
    (f'schema.many_to_many("Thing", "{"x" * 60}")', "F120", f'"{"x" * 60}"'),
    ('schema.string("x", primary_key=True, visible_to=["admin"])', "F146", '["admin"]'),
    ('schema.string("x", primary_key=True, writable_by=["admin"])', "F146", '["admin"]'),
    ('schema.int("x", primary_key=True, default=0)', "F146", "0"),
    ('schema.text("x", primary_key=True)', "F105", "primary_key=True"),
    ('schema.json("x", default="{}")', "F105", 'default="{}"'),
    ('schema.json("x", unique=True)', "F105", "unique=True"),
    ('schema.slug("x", pattern="a")', "F105", 'pattern="a"'),
    ('schema.string("x", visible_to=["a"], searchable=True)', "F148", "True"),
    ('schema.string("x", visible_to=["a"], sortable=True)', "F148", "True"),
    ('schema.string("x", visible_to=["a"], filterable=True)', "F148", "True"),
    ('schema.string("x", visible_to=[])', "F134", "[]"),
    ('schema.string("x", visible_to="admin")', "F107", '"admin"'),
    ('schema.string("x", visible_to=["Admin"])', "F134", '["Admin"]'),
    ('schema.belongs_to("Thing", writable_by=("a", "b c"))', "F134", '("a", "b c")'),
    ('schema.belongs_to("Thing", "x", True)', "F107", "True"),
    ('schema.permission("read", [])', "F134", "[]"),
    ('schema.permission("read")', "F107", "schema.permission"),
    ('schema.permission("read", ["a" "\'"])', "F134", None),
    ('schema.permission("craete", ["a"])', "F152", '"craete"'),
    ('schema.permission("list", ["a"])', "F152", '"list"'),
    ('schema.permission("audits", ["a"])', "F152", '"audits"'),
    ('schema.permission("patch", ["a"])', "F152", '"patch"'),
    ('schema.permission("Ship it", ["a"])', "F120", '"Ship it"'),
    ('schema.unique("title")', "F153", "schema.unique"),
    ('schema.unique("titel", "id")', "F153", '"titel"'),
    ('schema.unique("id", "id")', "F153", "schema.unique"),
    ('schema.unique("id", 7)', "F107", "7"),
    ('schema.unique("id", "-version")', "F153", '"-version"'),
    ('schema.unique("id", "version", messag="no")', "F105", 'messag="no"'),
    ('schema.index("-id", "id")', "F153", "schema.index"),
    ('schema.index("-id", "--version")', "F153", '"--version"'),
    ('schema.index("id", where="versoin > 1")', "F153", "versoin"),
    ('schema.index("id", where="version > \'a\'")', "F154", None),
    ('schema.index("id", where="version + 1 > 2")', "F154", "version + 1"),
    ('schema.index("id", where="-version < 1")', "F154", "-version"),
    ('schema.index(where="version > 1")', "F153", "schema.index"),
    ('schema.string("x", aggregatable=True, visible_to=["a"])', "F148", "True"),
    ('schema.belongs_to("Thing", aggregatable=True, visible_to=["a"])', "F148", "True"),
    ('schema.uuid("x", primary_key=True, aggregatable=True)', "F146", "True"),
    ('schema.json("x", aggregatable=True)', "F105", "aggregatable=True"),
    ('schema.report("x", [])', "F157", "[]"),
    ('schema.report("x", "id")', "F107", '"id"'),
    ('schema.check("", message="m")', "F154", '""'),
    ('schema.check("id is None")', "F107", "schema.check"),
    ('schema.check("id is", message="m")', "F154", '"id is"'),
    ('schema.check("idd is None", message="m")', "F153", "idd"),
    ('schema.check("1 < 2", message="m")', "F154", '"1 < 2"'),
    ('schema.check("version", message="m")', "F154", '"version"'),
    ('schema.check("version + 1 > id", message="m")', "F154", "version + 1 > id"),
    ('schema.check("version > 1e999", message="m")', "F154", "1e999"),
    ('schema.check("version == 2 if 1 else 3", message="m")', "F154", "version == 2 if 1 else 3"),
    ('schema.check("version > print(1)", message="m")', "F154", "print(1)"),
    ('schema.check("id > id", message="m")', "F154", "id > id"),
    ('schema.check("version in []", message="m")', "F154", "version in []"),
    ('schema.check("not version", message="m")', "F154", "version"),
    ('schema.check("version.x > 1", message="m")', "F154", "version.x"),
    (f'schema.check("{"(" * 300}version", message="m")', "F154", None),
    (f'schema.check("version > {"9" * 500}", message="m")', "F154", None),
    ('schema.check("version > 1", "m", "x")', "F107", '"x"'),
    ('schema.array("x", "int"), schema.check("x == x", "m")', "F154", "x == x"),
    ('schema.array("x", "int"), schema.check("len(x) > 1", "m")', "F154", "x"),
    ('schema.array("x", "int"), schema.unique("x", "version")', "F153", '"x"'),
    ('schema.time("x"), schema.check("x + x > x", "m")', "F154", "x"),
    ('schema.duration("x"), schema.check("x > 1", "m")', "F154", "x > 1"),
    ('schema.check("1 < version + 1 < 3", message="m")', "F154", "version + 1"),
    ('schema.check("version < 0.12345678901234567890", "m")', "F154", "0.12345678901234567890"),
    ('schema.check("id == \'a\\\\0b\'", message="m")', "F150", None),
    ('schema.check("id == \'\\\\d\'", message="m")', "F154", None),
    ("schema.timestamps(1)", "F107", "1"),
    ('schema.string("a\\0b")', "F150", '"a\\0b"'),
    ('schema.string("x", help="\\ud800")', "F150", '"\\ud800"'),
]


GRAPH = '"a": {"go": "b"}, "b": {}'
STATES = [
    # arguments of schema.states("s", ...), code, marked text
    (f'"x", {{{GRAPH}}}', "F156", '"x"'),
    ('"a", {"a": {"go": "c"}}', "F156", '"c"'),
    ('"a", {"a": {"go": "a"}}', "F156", '"a"'),
    (f'"a", {{{GRAPH}, "c": {{}}}}', "F156", "{}"),
    (f'"a", {{{GRAPH}}}, roles={{"went": ["x"]}}', "F156", '["x"]'),
    (f'"a", {{{GRAPH}}}, roles={{"go": []}}', "F134", "[]"),
    (f'"a", {{{GRAPH}}}, reason=["went"]), schema.auditable(', "F156", '["went"]'),
    (f'"a", {{{GRAPH}}}, reason=["go"]', "F156", '["go"]'),
    (f'"a", {{{GRAPH}}}, not_by={{"go": "nobody"}}', "F153", '"nobody"'),
    (f'"a", {{{GRAPH}}}, not_by="s"', "F156", '"s"'),
    (f'"a", {{{GRAPH}}}, not_by="u"), schema.uuid("u"', "F156", '"u"'),
    (
        f'"a", {{{GRAPH}}}, not_by={{"go": ["create", "went"]}}), schema.auditable(',
        "F153",
        '["create", "went"]',
    ),
    (f'"a", {{{GRAPH}}}, not_by={{"go": ["create", "go"]}}', "F161", '["create", "go"]'),
    (f'"a", {{{GRAPH}}}, not_by="update"', "F161", '"update"'),
    (f'"a", {{{GRAPH}}}, locked={{"c": []}}', "F156", "[]"),
    (f'"a", {{{GRAPH}}}, locked={{"b": ["x"]}}', "F156", '["x"]'),
    (f'"a", {{{GRAPH}}}, locked={{"b": ["s"]}}', "F156", '["s"]'),
    (f'"a", {{{GRAPH}}}, locked={{"b": ["id"]}}', "F156", '["id"]'),
    (f'"a", {{{GRAPH}}}, locked={{"b": ["n"]}}), schema.int("n", immutable=True', "F156", '["n"]'),
    (
        f'"a", {{{GRAPH}}}, locked={{"b": ["n"]}}), schema.int("n", visible_to=["x"]',
        "F156",
        '["n"]',
    ),
    (f'"a", {{{GRAPH}}}, locked={{"b": "n"}}), schema.int("n"', "F107", '{"b": "n"}'),
    ('"a", {"a": {"update": "b"}, "b": {}}', "F156", '{"update": "b"}'),
    ('"a", {"a": {"Go!": "b"}, "b": {}}', "F120", '{"Go!": "b"}'),
    ('"a", {"a": {"go": "b", "go": "b"}, "b": {}}', "F107", '"go"'),
    ('"a", {"a": {"go": 1}}', "F107", '{"a": {"go": 1}}'),
    ('"a", {1: {}}', "F107", "1"),
    ('"a", {"a": {**more}}', "F103", "{**more}"),
    ('"a", {"a": open("x")}', "F103", 'open("x")'),
]


@pytest.mark.parametrize(("arguments", "code", "text"), STATES, ids=[s[0] for s in STATES])
def test_a_mistake_in_states_is_one_diagnostic_at_its_place(
    arguments: str, code: str, text: str
) -> None:
    parsed = parse_parts(f'schema.states("s", {arguments})')
    assert (codes(parsed), marked(parsed.diagnostics[0])) == ([code], text)


@pytest.mark.parametrize(("part", "code", "text"), MISTAKES, ids=[m[0][:70] for m in MISTAKES])
def test_a_mistake_in_a_part_is_one_diagnostic_at_its_place(
    part: str, code: str | None, text: str | None
) -> None:
    parsed = parse_parts(part)
    assert codes(parsed) == ([code] if code else ["F127", "F127", "F127"])
    found = parsed.diagnostics[0]
    assert found.line == 3
    if text is not None:
        assert marked(found) == text
    assert parsed.resources == ()


FILES = [
    ("thing = (", "F101"),
    ("x" * ((1 << 20) + 1), "F101"),
    ("x = 'a\0b'", "F101"),
    (b"x = '\xff'", "F101"),
    (b"# coding: latin-1\nx = 1", "F101"),
    (b"# coding: no-such\nx = 1", "F101"),
    ("-" * 100_000 + "1", "F101"),
    (IMPORT, "F110"),
    ("", "F110"),
    ("import os\nos.system('x')", "F103"),
    (IMPORT + "if True:\n    thing = schema.define('Thing')", "F103"),
    (IMPORT + "hooks = schema.Hooks()", "F103"),
    ("thing = schema.define('Thing')", "F103"),
    ("from . import schema\nthing = schema.define('Thing')", "F103"),
    ("from other import schema\nthing = schema.define('Thing')", "F103"),
    ("from forge_min.schema import define\nthing = define('Thing')", "F103"),
    ("import forge_min.schema\nthing = forge_min.schema.define('Thing')", "F103"),
    (IMPORT + "import other as schema\nthing = schema.define('Thing')", "F103"),
    (IMPORT + "a = schema.define('Thing')\nb = schema.define('Thing')", "F110"),
    (IMPORT + "thing = schema.define('thing')", "F112"),
    (IMPORT + "thing = schema.define('Thing2')", "F112"),
    (IMPORT + "thing = schema.define()", "F107"),
    (IMPORT + "thing = schema.define('Thing', parts=[])", "F105"),
    (IMPORT + "thing = schema.define('Thing', plural='all-things')", "F120"),
    (IMPORT + "thing = schema.define('Thing', plural='forge_things')", "F120"),
    (IMPORT + "thing = schema.define('Thing', plural='events')", "F120"),
    (IMPORT + "thing = schema.define('Thing', schema.timestamps(), schema.timestamps())", "F124"),
]


@pytest.mark.parametrize(("text", "code"), FILES, ids=range(len(FILES)))
def test_a_mistake_in_a_file_is_one_diagnostic(text: str | bytes, code: str) -> None:
    parsed = parse(thing=text)
    assert codes(parsed) == [code]
    assert parsed.resources == ()
    assert parsed.diagnostics[0].format()


def test_everything_is_reported_at_once_over_all_files_in_order() -> None:
    parsed = parse(
        b=IMPORT + "b = schema.define('B', schema.string('X'), schema.strng('y'))",
        a="(",
        c=IMPORT + "c = schema.define('C', schema.belongs_to('Nobody'))",
        d=IMPORT + "d = schema.define('D')",
    )
    assert [(d.file.split("/")[1], d.code) for d in parsed.diagnostics] == [
        ("a", "F101"),
        ("b", "F120"),
        ("b", "F105"),
        ("c", "F140"),
    ]
    assert [r.name for r in parsed.resources] == ["D"]


def test_a_part_that_is_half_understood_is_checked_as_far_as_it_goes() -> None:
    parsed = parse_parts(
        "schema.string('X', hlp='')",
        "schema.int('x', max=LIMIT, min='a', default=1 << 3)",
        "schema.belongs_to('Nobody', required='yes')",
    )
    assert [(d.line, d.code) for d in parsed.diagnostics] == [
        (3, "F120"),
        (3, "F105"),
        (4, "F103"),
        (4, "F107"),
        (4, "F103"),
        (5, "F140"),
        (5, "F107"),
    ]
    text = IMPORT + "t = schema.define(1, schema.strng('x'), schema.string('x', max_len=0))"
    assert codes(parse(thing=text)) == ["F107", "F105", "F127"]


def test_a_condition_has_the_types_of_the_keys_that_its_relations_refer_to() -> None:
    ward = IMPORT + "ward = schema.define('Ward', schema.string('code', primary_key=True))"
    for condition, found in (("ward_id != 'none'", []), ("ward_id != id", ["F154"])):
        rule = f'schema.belongs_to("Ward"), schema.check("{condition}", "no")'
        parsed = parse(bed=IMPORT + f"bed = schema.define('Bed', {rule})", ward=ward)
        assert codes(parsed) == found


def test_a_condition_does_not_compare_a_hidden_field_with_one_that_is_not() -> None:
    fields = ["schema.int('paid', visible_to=['hr'])", "schema.int('due', visible_to=['hr'])"]
    assert codes(parse_parts(*fields, "schema.check('paid <= due', 'no')")) == []
    assert codes(parse_parts(*fields, "schema.check('paid <= version', 'no')")) == ["F148"]


FIELDS = (
    "schema.decimal('cost', aggregatable=True, filterable=True)",
    "schema.int('beds', filterable=True)",
    "schema.enum('kind', ['a', 'b'], aggregatable=True, filterable=True)",
    "schema.datetime('at', aggregatable=True, filterable=True)",
    "schema.string('name', filterable=True)",
    "schema.bool('open', filterable=True)",
    "schema.array('tags', 'string', filterable=True)",
    "schema.string('secret', visible_to=['boss'])",
    "schema.belongs_to('Thing', 'ward', aggregatable=True)",
    "schema.timestamps()",
)
GOOD = [
    "'r', ['ward_id', 'month(at)'], ['sum(cost)', 'avg(cost)', 'max(at)'], chart='stacked'",
    "'r', ('day(created_at)',), ('count',), {}",
    "'r', ['kind', 'at'], filters={'kind': None, 'kind[ne]': 'a', 'kind[in]': ['a', 'b']}",
    "'r', ['kind'], filters={'cost[gte]': '1.5', 'cost': 3, 'beds[in]': (1, 2), 'open': True}",
    "'r', ['kind'], filters={'tags[contains]': 'a', 'tags[is_null]': True}",
    "'r', ['kind'], filters={'at[lt]': '2026-01-01T00:00:00Z', 'name[contains]': '%'}",
    "'r', ['kind'], filters={'name[is_null]': False, 'id': '0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b'}",
]
WRONG = [
    # arguments of the report, code, marked text
    ("'r', ['wards_id']", "F157", "'wards_id'"),
    ("'r', ['kind', 'kind']", "F157", "'kind'"),
    ("'r', ['kind', 'at', 'cost']", "F157", "['kind', 'at', 'cost']"),
    ("'r', ['kind'], []", "F157", "[]"),
    ("'r', ['beds']", "F157", "'beds'"),
    ("'r', ['version']", "F157", "'version'"),
    ("'r', ['secret']", "F157", "'secret'"),
    ("'r', ['month(cost)']", "F157", "'month(cost)'"),
    ("'r', ['hour(at)']", "F157", "'hour(at)'"),
    ("'r', ['month (at)']", "F157", "'month (at)'"),
    ("'r', ['kind'], ['sum(at)']", "F157", "'sum(at)'"),
    ("'r', ['kind'], ['min(kind)']", "F157", "'min(kind)'"),
    ("'r', ['kind'], ['sum(beds)']", "F157", "'sum(beds)'"),
    ("'r', ['kind'], ['count', 'count']", "F157", "'count'"),
    ("'r', ['kind'], ['cost']", "F157", "'cost'"),
    ("'r', ['kind'], ['count(*)']", "F157", "'count(*)'"),
    ("'r', ['kind'], chart='pie'", "F107", "'pie'"),
    ("'r', ['kind'], filters={'secret': 'x'}", "F157", "{'secret': 'x'}"),
    ("'r', ['kind'], filters={'version': 1}", "F157", "{'version': 1}"),
    ("'r', ['kind'], filters={'kind': 'c'}", "F157", "{'kind': 'c'}"),
    ("'r', ['kind'], filters={'kind[in]': 'a'}", "F157", "{'kind[in]': 'a'}"),
    ("'r', ['kind'], filters={'tags[in]': ['a']}", "F157", "{'tags[in]': ['a']}"),
    ("'r', ['kind'], filters={'kind': ['a']}", "F157", "{'kind': ['a']}"),
    ("'r', ['kind'], filters={'kind[contains]': 'a'}", "F157", "{'kind[contains]': 'a'}"),
    ("'r', ['kind'], filters={'kind[': 'a'}", "F157", "{'kind[': 'a'}"),
    ("'r', ['kind'], filters={'kind[like]': 'a'}", "F157", "{'kind[like]': 'a'}"),
    ("'r', ['kind'], filters={'cost': '1e3'}", "F157", "{'cost': '1e3'}"),
    ("'r', ['kind'], filters={'cost': 1.5}", "F157", "{'cost': 1.5}"),
    ("'go', ['kind']), schema.states('s', 'a', {'a': {'go': 'b'}, 'b': {}}", "F157", "'go'"),
    ("'r', ['kind'], filters={'cost[gt]': None}", "F157", "{'cost[gt]': None}"),
    ("'r', ['kind'], filters={'beds': '1'}", "F157", "{'beds': '1'}"),
    ("'r', ['kind'], filters={'beds': True}", "F157", "{'beds': True}"),
    ("'r', ['kind'], filters={'beds': 4294967296}", "F157", "{'beds': 4294967296}"),
    ("'r', ['kind'], filters={'open': 1}", "F157", "{'open': 1}"),
    ("'r', ['kind'], filters={'name[is_null]': 'true'}", "F157", "{'name[is_null]': 'true'}"),
    ("'r', ['kind'], filters={'name': 'a\\0'}", "F150", "'a\\0'"),
    ("'r', ['kind'], filters={'at': '2026-01-01'}", "F157", "{'at': '2026-01-01'}"),
    ("'r', ['kind'], filters={'ward_id': 'x'}", "F157", "{'ward_id': 'x'}"),
    ("'r', ['kind'], filters={1: 'x'}", "F107", "1"),
    ("'r', ['kind'], filters=['x']", "F107", "['x']"),
    ("'read', ['kind']", "F157", "'read'"),
    ("'audit', ['kind']", "F157", "'audit'"),
    ("'reads', ['kind']", "F152", "'reads'"),
    ("'A report', ['kind']", "F120", "'A report'"),
]


@pytest.mark.parametrize(("words", "code", "text"), WRONG, ids=[words for words, _, _ in WRONG])
def test_a_mistake_in_a_report_is_one_diagnostic_at_its_place(
    words: str, code: str, text: str
) -> None:
    (found,) = parse_parts(*FIELDS, f"schema.report({words})").diagnostics
    assert (found.code, marked(found)) == (code, text)
    assert found.hint or code in ("F107", "F120")


def test_a_second_report_of_a_name_is_reported() -> None:
    twice = parse_parts(*FIELDS, *["schema.report('x', ['kind'])"] * 2)
    assert [(d.code, marked(d)) for d in twice.diagnostics] == [("F124", "'x'")]


def test_reports_have_groups_measures_and_filters_of_their_fields() -> None:
    reports = [f"schema.report({words})".replace("'r'", f"'r{n}'") for n, words in enumerate(GOOD)]
    assert parse_parts(*FIELDS, *reports).diagnostics == ()


def test_all_mistakes_of_a_report_are_reported_at_once() -> None:
    wrong = "'r', ['beds', 'x'], ['sum(x)'], {'secret': 1, 'kind': 'c'}, chart='pie', more=1"
    parsed = parse_parts(
        *FIELDS, "schema.int('X')", f"schema.report({wrong})", "schema.timestamp()"
    )
    assert sorted(codes(parsed)) == ["F105", "F105", "F107", "F120"], "the columns are not certain"
    parsed = parse_parts(*FIELDS, f"schema.report({wrong})")
    assert sorted(codes(parsed)) == ["F105", "F107"] + ["F157"] * 5


def test_duplicates_are_reported_at_the_second() -> None:
    parsed = parse_parts("schema.string('x')", "schema.int('x')", "schema.bool('x')")
    assert [(d.code, d.line) for d in parsed.diagnostics] == [("F124", 4), ("F124", 5)]


def test_a_relation_and_a_field_cannot_share_a_column() -> None:
    assert codes(parse_parts("schema.uuid('thing_id')", "schema.belongs_to('Thing')")) == ["F124"]
    assert codes(parse_parts("schema.uuid('thing')", "schema.belongs_to('Thing')")) == ["F124"]


PAIRS = [
    ("string('class')", "string('class_')"),
    ("string('class_')", "string('class')"),
    ("string('x', primary_key=True)", "int('y', primary_key=True)"),
    ("belongs_to('Thing', 'x')", "has_many('Thing', 'x', via='x')"),
    ("belongs_to('Thing', 'x')", "has_many('Thing', 'x_id', via='x')"),
    ("string('x')", "many_to_many('Thing', 'x')"),
    ("json('thing_ids')", "many_to_many('Thing')"),
    ("json('x_ids')", "many_to_many('Thing', 'x')"),
    ("permission('read', ['a'])", "permission('read', ['b'])"),
    ("version()", "version()"),
    ("with_hooks(schema.Hooks())", "with_hooks(schema.Hooks())"),
    (f"string('{'x' * 62}a')", f"belongs_to('Thing', '{'x' * 59}')"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_what_may_be_there_once_is_reported_at_the_second(pair: tuple[str, str]) -> None:
    expected = ["F146"] if "primary_key" in pair[0] else ["F124"]
    expected = [] if "xxx" in pair[0] else expected
    parsed = parse_parts(*(f"schema.{part}" for part in pair))
    assert codes(parsed) == expected
    assert all(diagnostic.line == 4 for diagnostic in parsed.diagnostics)


def test_two_resources_cannot_share_a_name_or_a_table() -> None:
    thing = IMPORT + "thing = schema.define('Thing')"
    assert codes(parse(other=thing, thing=thing)) == ["F112", "F114"]
    other = IMPORT + "other = schema.define('Other', plural='things')"
    assert codes(parse(thing=thing, other=other)) == ["F114"]


def test_a_target_in_a_file_that_cannot_be_read_is_not_reported_as_missing() -> None:
    text = IMPORT + "thing = schema.define('Thing', schema.belongs_to('BigOne'))"
    assert codes(parse(thing=text, big_one="(")) == ["F101"]


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ("schema.strng('x')", '"string"'),
        ("schema.string('x', requird=True)", '"required"'),
        ("schema.belongs_to('Thimg')", '"Thing"'),
        ("schema.enum('x', ['open', 'closed'], default='opn')", '"open"'),
        ("schema.many_too_many('Thing')", '"many_to_many"'),
        ("schema.string('x', visable_to=['a'])", '"visible_to"'),
        ("schema.text('x', primary_key=True)", "bigint, int, slug, string, uuid"),
        ("schema.permission('delet', ['a'])", '"delete"'),
        ("schema.permission('export', ['a'])", '"read"'),
    ],
)
def test_a_near_miss_gets_the_right_word(part: str, word: str) -> None:
    assert word in parse_parts(part).diagnostics[0].hint


def test_the_shown_place_is_aligned_in_characters_not_bytes() -> None:
    found = parse(
        thing=IMPORT + "t = schema.define('Thing', schema.string('x', label='äöü', hlp=''))"
    ).diagnostics[0]
    lines = found.format().splitlines()
    assert lines[0] == 'error[F105]: string has no option "hlp"'
    assert lines[1] == f" --> resources/thing/schema.py:2:{found.col}"
    shown, carets = lines[3].removeprefix("2 | "), lines[4].removeprefix("  | ")
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "hlp=''"
    assert lines[5] == '  = hint: did you mean "help"?'


def test_nothing_of_a_file_can_steer_a_terminal() -> None:
    text = IMPORT + "t = schema.define('Thing', schema.string('\x1b[2J\x07\u202e', x\x1b=1))"
    for diagnostic in parse(thing=text).diagnostics:
        assert all(c.isprintable() or c == "\n" for c in diagnostic.format())


def test_colour_is_only_there_when_asked_for() -> None:
    found = parse(thing="(").diagnostics[0]
    assert "\x1b" not in found.format(color=False)
    assert "\x1b[31;1merror[F101]" in found.format(color=True)


def test_a_diagnostic_is_json() -> None:
    found = parse(thing="(").diagnostics[0]
    assert Diagnostic(**json.loads(json.dumps(found.as_json()))) == found


def test_every_code_has_a_text() -> None:
    known = tomllib.loads(files("forge_min").joinpath("codes.toml").read_text())
    for _, code, *_ in [*MISTAKES, *((None, code) for _, code in FILES)]:
        assert code is None or (known[code]["title"] and known[code]["text"])


def test_files_are_found_and_named_relative_to_the_project(tmp_path: Path) -> None:
    for folder, text in (("thing", "("), ("other", IMPORT + "x = schema.define('Other')")):
        (tmp_path / "resources" / folder).mkdir(parents=True)
        (tmp_path / "resources" / folder / "schema.py").write_text(text)
    (tmp_path / "resources" / "empty").mkdir()
    parsed = parse_project(tmp_path)
    assert [d.file for d in parsed.diagnostics] == ["resources/thing/schema.py"]
    assert [r.source for r in parsed.resources] == ["resources/other/schema.py"]


def test_a_project_without_resources_is_empty(tmp_path: Path) -> None:
    assert parse_project(tmp_path) == parse()


def test_a_schema_that_cannot_be_opened_is_a_diagnostic(tmp_path: Path) -> None:
    (tmp_path / "resources" / "thing" / "schema.py").mkdir(parents=True)
    assert codes(parse_project(tmp_path)) == ["F101"]


READ = """
import sys
from pathlib import Path
from forge_min.parse import parse_project
print(*(found.code for found in parse_project(Path(sys.argv[1])).diagnostics))
"""


def test_a_pipe_is_no_schema_and_nobody_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "resources" / "thing").mkdir(parents=True)
    os.mkfifo(tmp_path / "resources" / "thing" / "schema.py")
    shown = subprocess.run(
        [sys.executable, "-c", READ, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert shown == "F101\n"


def test_nothing_of_the_file_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    text = f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
    text += IMPORT + f"t = schema.define('Thing', open({str(witness)!r}, 'w'))"
    assert set(codes(parse(thing=text))) == {"F103"}
    assert not witness.exists()


@pytest.mark.thorough
def test_a_line_with_many_thousand_mistakes_shows_them_all() -> None:
    many = ", ".join(["schema.strng('é')"] * 2_000 + ["schema.strng('x')"] * 2_000)
    text = IMPORT + f"t = schema.define('Thing', {many})"
    found = parse(thing=text).diagnostics
    assert len(found) == 4_000 and len({one.col for one in found}) == 4_000
    assert {marked(one) for one in found} == {"schema.strng"}
    choices = [str(n) for n in range(50_000)]
    assert codes(parse_parts(f"schema.enum('x', {choices})")) == []
    assert codes(parse_parts(f"schema.enum('x', {[*choices, '7']})")) == ["F128"]


def test_every_message_is_said_somewhere_and_every_one_that_is_said_is_there() -> None:
    package = Path(str(files("forge_min"))) / "parse"
    code = "".join(path.read_text() for path in package.rglob("*.py"))
    known = tomllib.loads((package / "messages.toml").read_text())
    words = set(re.findall(r'"([a-z_]+)"', code)) | {"missing_kind", "missing_choices"}
    assert known.keys() <= words
    said = set(re.findall(r'(?:problem|unknown)\(\s*"(\w+)"', code))
    said |= set(re.findall(r'_report\([\w.]+, "(\w+)"', code))
    assert said <= known.keys() and len(said) > 30
