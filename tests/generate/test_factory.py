"""Generated factories give what a create takes, within every limit of the schema."""

from __future__ import annotations

import sys
import types
from typing import Any
from uuid import UUID

import pytest
from forge_min.actions import Check
from forge_min.errors import Invalid
from forge_min.parse import ResourceIR
from forge_min.temporal import is_relative
from hypothesis import given, settings

from ..parse.helpers import parse, resource
from ..parse.strategies import schema_files
from .helpers import rendered

ROW = UUID("2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10")


def load(thing: ResourceIR) -> tuple[Any, Any]:
    """The factory class and the validator, from a package that is in memory only."""
    files = rendered([thing])
    package = f"gen_{thing.folder}"
    try:
        for name in ("", ".model", ".sql", ".resource", ".factory"):
            module = types.ModuleType(package + name)
            module.__package__, module.__path__ = package, []
            sys.modules[package + name] = module
            if name:
                setattr(sys.modules[package], name[1:], module)
                source = files[f"{thing.folder}/{name[1:]}.py"]
                exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our own code
        loaded = sys.modules
        factory = getattr(loaded[f"{package}.factory"], thing.name + "Factory")
        return factory, loaded[f"{package}.resource"].RESOURCE
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


def wrong(thing: ResourceIR, numbers: range = range(1, 40)) -> list[str]:
    """What the validator says of the factory's rows, without what a person has to give."""
    factory, data = load(thing)
    maker = object.__new__(factory)
    maker.related = lambda topic: ROW
    given_by_hand = {f.name for f in thing.fields if f.pattern is not None}
    given_by_hand |= {f.name for f in thing.fields if is_relative(f.min or f.max)}
    given_by_hand |= {r.column for r in thing.relations if r.target == thing.name}
    found: list[str] = []
    seen: dict[str, set[object]] = {}
    for n in numbers:
        values = maker.defaults(n)
        check = Check(values)
        data.check(check)
        try:
            check.result()
        except Invalid as err:
            names = {error.pointer[1:] for error in err.errors} - given_by_hand
            found += [f"{name}: {values.get(name)!r}" for name in sorted(names)]
        for name, value in values.items():
            seen.setdefault(name, set()).add(str(value))
    for field in thing.fields:
        few = (field.max_len or 9) < 2 or field.type in ("enum", "bool", "decimal", "int", "bigint")
        if field.unique and field.name in seen and not few and len(seen[field.name]) < len(numbers):
            found.append(f"{field.name} repeats itself")
    return found


LIMITS = [
    'schema.string("s", required=True, unique=True, min_len=2, max_len=2)',
    'schema.string("s", required=True, unique=True, min_len=90, max_len=99)',
    'schema.text("s", required=True, min_len=40)',
    'schema.slug("s_x__", required=True, unique=True, max_len=3)',
    'schema.slug("s_x__", required=True, unique=True, min_len=50)',
    'schema.email("s", required=True, unique=True, min_len=30)',
    'schema.url("s", required=True, unique=True, min_len=200)',
    'schema.int("s", required=True, min=-3, max=-1)',
    'schema.int("s", required=True, min=2147483640)',
    'schema.bigint("s", required=True, min=9223372036854775800)',
    'schema.int("s", required=True, max=0)',
    'schema.decimal("s", required=True, precision=(3, 2))',
    'schema.decimal("s", required=True, precision=(2, 2))',
    'schema.decimal("s", required=True, precision=(5, 0), max=-99999)',
    'schema.decimal("s", required=True, min=0.001)',
    'schema.decimal("s", required=True, unique=True, min=-2.5, max=-0.0000001)',
    'schema.decimal("s", required=True, min=0.25, max=0.75)',
    'schema.decimal("s", required=True, max=0.5, precision=(2, 1))',
    'schema.enum("s", ["a", "it\'s"], required=True, unique=True)',
    'schema.json("s", required=True)',
    'schema.datetime("s", required=True, unique=True)',
    'schema.date("s", required=True, unique=True)',
    'schema.uuid("s", primary_key=True)',
    'schema.float("s", required=True, unique=True)',
    'schema.float("s", required=True, min=0.25, max=0.75)',
    'schema.float("s", required=True, max=-1e300)',
    'schema.date("s", required=True, max="1900-01-01")',
    'schema.date("s", required=True, min="1900-01-01", max="today")',
    'schema.datetime("s", required=True, min="2000-01-01T00:00:00+02:00", max="now")',
    'schema.time("s", required=True, unique=True)',
    'schema.time("s", required=True, min="23:59:59")',
    'schema.duration("s", required=True, unique=True)',
    'schema.duration("s", required=True, min="P1D", max="P1W")',
    'schema.array("s", "string", required=True)',
    'schema.array("s", "int", required=True, max_items=1)',
    'schema.array("s", "enum", ["a"], required=True)',
]


@pytest.mark.parametrize(
    ("options", "good", "bad"),
    [
        ("min=0.001", ("0.001", 1), ("0.0009999999999999999999", 0)),
        ("min=-0.1, max=1e-7", ("-0.1", "0.0000001"), ("-0.10000000000000000001", "0.00000011")),
        ("max=2.0, precision=(3, 0)", ("2",), ("3",)),
    ],
)
def test_a_limit_with_a_fraction_is_exact(
    options: str, good: tuple[object, ...], bad: tuple[object, ...]
) -> None:
    _, data = load(resource(f'schema.decimal("s", {options})'))
    for value in (*good, *bad):
        check = Check({"s": value})
        data.check(check)
        assert bool(check.errors) == (value in bad), (value, check.errors)


@pytest.mark.parametrize("field", LIMITS)
def test_a_value_keeps_every_limit_of_its_field(field: str) -> None:
    assert wrong(resource(field)) == []


@pytest.mark.parametrize(
    ("field", "several"),
    [
        ('schema.bool("s", required=True, unique=True)', 2),
        ('schema.decimal("s", required=True, unique=True, precision=(3, 3))', 39),
        ('schema.decimal("s", required=True, unique=True, precision=(4, 2))', 39),
        ('schema.enum("s", ["a", "b", "c"], required=True, unique=True)', 3),
    ],
)
def test_unique_values_differ_as_long_as_they_can(field: str, several: int) -> None:
    factory, _ = load(resource(field))
    assert len({object.__new__(factory).defaults(n)["s"] for n in range(39)}) == several


def test_what_only_a_person_knows_is_left_out() -> None:
    factory, _ = load(
        resource(
            'schema.string("code", required=True, pattern="[A-Z]{3}")',
            'schema.belongs_to("Thing", name="parent", required=True)',
            'schema.email("mail", required=True, max_len=12)',
            'schema.date("born_on", required=True, max="today")',
            'schema.string("name", required=True, label="Name")',
            'schema.string("note")',
        )
    )
    assert object.__new__(factory).defaults(7) == {"name": "name 7"}


@given(schema_files())
@settings(max_examples=40, deadline=None)
def test_the_rows_of_any_schema_are_valid(source: str) -> None:
    thing = next(r for r in parse(thing=source).resources if r.name == "Thing")
    assert wrong(thing, range(1, 4)) == []
