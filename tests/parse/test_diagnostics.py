"""Every mistake that a schema file can hold: its code, and the place that is marked."""

from __future__ import annotations

import dataclasses
import json
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
    ('schema.string("x", max_len=LIMIT)', "F104", "LIMIT"),
    ('schema.string("x", label=f"a{1}")', "F104", 'f"a{1}"'),
    ('schema.string("x", label="a" + "b")', "F104", '"a" + "b"'),
    ('schema.string("x", label=open("f").read())', "F104", 'open("f").read()'),
    ("schema.int('x', default=-True)", "F104", "-True"),
    ("schema.enum('x', [*CHOICES])", "F104", "*CHOICES"),
    ("schema.enum('x', [c for c in 'ab'])", "F104", "[c for c in 'ab']"),
    ('schema.string("x", **options)', "F104", "options"),
    ("*fields", "F104", "*fields"),
    ("lambda: 1", "F104", "lambda: 1"),
    ('schema.string("x", max_length=3)', "F106", "max_length=3"),
    ('schema.int("x", searchable=True)', "F106", "searchable=True"),
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
    ("schema.string()", "F108", "schema.string"),
    ("schema.belongs_to()", "F108", "schema.belongs_to"),
    ("schema.with_hooks()", "F108", "schema.with_hooks"),
    ('schema.string("x", "y")', "F109", '"y"'),
    ('schema.string("x", name="y")', "F109", '"y"'),
    ('schema.string("X")', "F120", '"X"'),
    ('schema.string("é")', "F120", '"é"'),
    ('schema.string("")', "F120", '""'),
    ('schema.string("a b")', "F120", '"a b"'),
    ('schema.string("x; drop table t")', "F120", '"x; drop table t"'),
    ('schema.string("id")', "F121", '"id"'),
    ('schema.int("version")', "F121", '"version"'),
    ('schema.datetime("created_at")', "F121", '"created_at"'),
    ('schema.string("forge_x")', "F121", '"forge_x"'),
    ('schema.string("ctid")', "F121", '"ctid"'),
    ('schema.belongs_to("Thing", "tenant")', "F121", '"tenant"'),
    ('schema.string("sort", filterable=True)', "F121", "True"),
    ('schema.string("class")', "F122", '"class"'),
    ('schema.string("self")', "F122", '"self"'),
    (f'schema.string("{"x" * 64}")', "F123", f'"{"x" * 64}"'),
    (f'schema.belongs_to("Thing", "{"x" * 61}")', "F123", f'"{"x" * 61}"'),
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
    ('schema.int("x", min=4, max=3)', "F126", "4"),
    ('schema.string("x", min_len=4, max_len=3)', "F126", "4"),
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
    ('schema.enum("x", ["a", "a"])', "F129", '["a", "a"]'),
    ('schema.enum("x", ["a", 1])', "F107", '["a", 1]'),
    ('schema.string("x", label={"a": []})', "F107", '{"a": []}'),
    ('schema.string("x", label={[]})', "F104", "{[]}"),
    ('schema.define("Thing")', "F107", 'schema.define("Thing")'),
    ("schema.with_hooks(schema.Hooks(after_create=[schema.JobRef()]))", "F130", "schema.JobRef"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("send it")]))', "F131", '"send it"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("sendIt")]))', "F131", '"sendIt"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("None")]))', "F131", '"None"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", "b c")]))', "F132", '"b c"'),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", priority=5)]))', "F132", "5"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", max_attempts=0)]))', "F132", "0"),
    ('schema.with_hooks(schema.Hooks([schema.JobRef("A", delay=-1)]))', "F132", "-1"),
    ('schema.belongs_to("Think")', "F140", '"Think"'),
    ('schema.belongs_to("thing")', "F112", '"thing"'),
    ('schema.belongs_to("Thing", required=True, on_delete="set_null")', "F141", '"set_null"'),
    ('schema.string("a\\0b")', "F150", '"a\\0b"'),
    ('schema.string("x", help="\\ud800")', "F150", '"\\ud800"'),
]


@pytest.mark.parametrize(("part", "code", "text"), MISTAKES, ids=[m[0][:70] for m in MISTAKES])
def test_a_mistake_in_a_part_is_one_diagnostic_at_its_place(
    part: str, code: str, text: str | None
) -> None:
    parsed = parse_parts(part)
    assert codes(parsed) == [code]
    found = parsed.diagnostics[0]
    assert found.line == 3
    if text is not None:
        assert marked(found) == text
    assert parsed.resources == ()


FILES = [
    ("thing = (", "F101"),
    ("x" * ((1 << 20) + 1), "F102"),
    ("x = 'a\0b'", "F102"),
    (b"x = '\xff'", "F102"),
    (b"# coding: latin-1\nx = 1", "F102"),
    (b"# coding: no-such\nx = 1", "F102"),
    ("-" * 100_000 + "1", "F102"),
    (IMPORT, "F110"),
    ("", "F110"),
    ("import os\nos.system('x')", "F104"),
    (IMPORT + "if True:\n    thing = schema.define('Thing')", "F103"),
    (IMPORT + "hooks = schema.Hooks()", "F103"),
    ("thing = schema.define('Thing')", "F104"),
    ("from . import schema\nthing = schema.define('Thing')", "F104"),
    ("from other import schema\nthing = schema.define('Thing')", "F104"),
    ("from forge_min.schema import define\nthing = define('Thing')", "F104"),
    ("import forge_min.schema\nthing = forge_min.schema.define('Thing')", "F104"),
    (IMPORT + "import other as schema\nthing = schema.define('Thing')", "F104"),
    (IMPORT + "a = schema.define('Thing')\nb = schema.define('Thing')", "F111"),
    (IMPORT + "thing = schema.define('thing')", "F112"),
    (IMPORT + "thing = schema.define('Thing2')", "F113"),
    (IMPORT + "thing = schema.define()", "F108"),
    (IMPORT + "thing = schema.define('Thing', parts=[])", "F106"),
    (IMPORT + "thing = schema.define('Thing', plural='all-things')", "F120"),
    (IMPORT + "thing = schema.define('Thing', plural='forge_things')", "F121"),
    (IMPORT + "thing = schema.define('Thing', plural='events')", "F121"),
    (IMPORT + "thing = schema.define('Thing', schema.timestamps(), schema.timestamps())", "F142"),
]


@pytest.mark.parametrize(("text", "code"), FILES, ids=range(len(FILES)))
def test_a_mistake_in_a_file_is_one_diagnostic(text: str | bytes, code: str) -> None:
    parsed = parse(thing=text)
    assert codes(parsed) == [code]
    assert parsed.resources == ()
    assert parsed.diagnostics[0].format()


def test_words_of_python_cannot_name_a_resource_whose_package_they_would_be() -> None:
    text = IMPORT + "x = schema.define('Class')"
    assert codes(parse(**{"class": text})) == ["F122"]


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
        (3, "F106"),
        (4, "F104"),
        (4, "F107"),
        (4, "F104"),
        (5, "F140"),
        (5, "F107"),
    ]
    text = IMPORT + "t = schema.define(1, schema.strng('x'), schema.string('x', max_len=0))"
    assert codes(parse(thing=text)) == ["F107", "F105", "F127"]


def test_duplicates_are_reported_at_the_second() -> None:
    parsed = parse_parts("schema.string('x')", "schema.int('x')", "schema.bool('x')")
    assert [(d.code, d.line) for d in parsed.diagnostics] == [("F124", 4), ("F124", 5)]


def test_a_relation_and_a_field_cannot_share_a_column() -> None:
    assert codes(parse_parts("schema.uuid('thing_id')", "schema.belongs_to('Thing')")) == ["F124"]
    assert codes(parse_parts("schema.uuid('thing')", "schema.belongs_to('Thing')")) == ["F124"]


def test_two_resources_cannot_share_a_name_or_a_table() -> None:
    thing = IMPORT + "thing = schema.define('Thing')"
    assert codes(parse(other=thing, thing=thing)) == ["F113", "F114"]
    other = IMPORT + "other = schema.define('Other', plural='things')"
    assert codes(parse(thing=thing, other=other)) == ["F115"]


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
    ],
)
def test_a_near_miss_gets_the_right_word(part: str, word: str) -> None:
    assert word in parse_parts(part).diagnostics[0].hint


def test_the_shown_place_is_aligned_in_characters_not_bytes() -> None:
    found = parse(
        thing=IMPORT + "t = schema.define('Thing', schema.string('x', label='äöü', hlp=''))"
    ).diagnostics[0]
    lines = found.format().splitlines()
    assert lines[0] == 'error[F106]: string has no option "hlp"'
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
    assert Diagnostic(**json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_every_code_has_a_text() -> None:
    known = tomllib.loads(files("forge_min").joinpath("codes.toml").read_text())
    for _, code, *_ in [*MISTAKES, *((None, code) for _, code in FILES)]:
        assert known[code]["title"] and known[code]["text"]


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
    assert codes(parse_project(tmp_path)) == ["F102"]


def test_nothing_of_the_file_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    text = f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
    text += IMPORT + f"t = schema.define('Thing', open({str(witness)!r}, 'w'))"
    assert set(codes(parse(thing=text))) == {"F104"}
    assert not witness.exists()
