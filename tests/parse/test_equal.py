"""A schema file means the same whether it is imported or read; a spoiled one never raises."""

from __future__ import annotations

import ast
import dataclasses
import json

from forge_min import schema
from forge_min.parse import lower
from forge_min.parse.ir import FieldIR, RelationIR, ResourceIR, Span
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import parse
from .strategies import schema_files, spoil_text, spoil_tree

NOWHERE = Span("resources/thing/schema.py", 1, 1, 2)


def imported(source: str) -> schema.Resource:
    space: dict[str, object] = {}
    exec(compile(source, "schema.py", "exec"), space)  # noqa: S102
    return next(value for value in space.values() if isinstance(value, schema.Resource))


def without_places(resource: ResourceIR) -> ResourceIR:
    def bare(member: FieldIR | RelationIR) -> FieldIR | RelationIR:
        return dataclasses.replace(member, span=NOWHERE)

    members = tuple(bare(member) for member in resource.members)
    return dataclasses.replace(resource, members=members, span=NOWHERE)


@given(schema_files())
@settings(max_examples=150, deadline=None)
def test_imported_and_parsed_give_the_same_ir(source: str) -> None:
    parsed = parse(thing=source)
    assert parsed.diagnostics == ()
    (found,) = parsed.resources
    assert without_places(found) == lower(imported(source), NOWHERE.file, NOWHERE)


@given(schema_files())
@settings(max_examples=50, deadline=None)
def test_the_places_of_members_are_those_of_their_names(source: str) -> None:
    lines = source.splitlines()
    for member in parse(thing=source).resources[0].members:
        line = lines[member.span.line - 1]
        assert ast.literal_eval(line[member.span.col - 1 : member.span.end_col - 1]) == member.name


def survives(data: bytes) -> None:
    parsed = parse(thing=data)
    assert bool(parsed.diagnostics) != bool(parsed.resources)
    for diagnostic in parsed.diagnostics:
        text = diagnostic.format(color=False)
        text.encode()
        assert all(c.isprintable() or c == "\n" for c in text)
        assert json.dumps(dataclasses.asdict(diagnostic))
        assert diagnostic.code.startswith("F1") and 1 <= diagnostic.col < diagnostic.end_col


@given(schema_files(), st.integers())
@settings(max_examples=300, deadline=None)
def test_a_file_with_spoiled_text_gives_a_resource_or_diagnostics(source: str, seed: int) -> None:
    survives(spoil_text(source, seed))


@given(schema_files(), st.integers())
@settings(max_examples=300, deadline=None)
def test_a_file_with_a_spoiled_tree_gives_a_resource_or_diagnostics(source: str, seed: int) -> None:
    survives(spoil_tree(source, seed))


@given(schema_files(), st.integers())
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_after_spoiling_means_the_same_when_it_is_imported(
    source: str, seed: int
) -> None:
    data = spoil_tree(source, seed)
    parsed = parse(thing=data)
    if parsed.resources:
        same = lower(imported(data.decode()), NOWHERE.file, NOWHERE)
        assert without_places(parsed.resources[0]) == same
