"""A schema file means the same whether it is imported or read; a spoiled one never raises."""

from __future__ import annotations

import json

from forge_min import schema
from forge_min.parse import edges_of, join_edges, lower, resolve
from forge_min.parse.ir import ResourceIR
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import parse
from .strategies import schema_files, schema_projects, spoil_text, spoil_tree


def imported(folder: str, source: str) -> ResourceIR:
    space: dict[str, object] = {}
    exec(compile(source, "schema.py", "exec"), space)  # noqa: S102
    resource = next(value for value in space.values() if isinstance(value, schema.ResourceSchema))
    return lower(resource, f"resources/{folder}/schema.py")


@given(schema_files())
@settings(max_examples=60, deadline=None)
def test_imported_and_parsed_give_the_same_ir(source: str) -> None:
    parsed = parse(thing=source)
    assert parsed.diagnostics == ()
    assert parsed.resources == resolve([imported("thing", source)])


@given(schema_projects())
@settings(max_examples=60, deadline=None)
def test_several_files_imported_and_parsed_give_the_same_ir(files: dict[str, str]) -> None:
    parsed = parse(**files)
    assert parsed.diagnostics == ()
    same = resolve(imported(folder, text) for folder, text in files.items())
    assert parsed.resources == same
    thing, other = parsed.resources
    by_name = {"Thing": thing, "Other": other}
    assert {link.name for link in edges_of(thing, by_name)} >= {"others", "other"}
    one = next(relation for relation in other.relations if relation.name == "one")
    assert one.unique
    assert {link.join for link in join_edges(parsed.resources)} >= {
        many.table for resource in parsed.resources for many in resource.many if many.table
    }


def survives(**files: bytes) -> None:
    """Each file gives either its resource or diagnostics; without any, the relations resolve."""
    parsed = parse(**files)
    bad = {diagnostic.file for diagnostic in parsed.diagnostics}
    assert {r.source for r in parsed.resources} == {
        f"resources/{folder}/schema.py" for folder in files
    } - bad
    for diagnostic in parsed.diagnostics:
        text = diagnostic.format(color=False)
        text.encode()
        assert all(c.isprintable() or c == "\n" for c in text)
        assert json.dumps(diagnostic.as_json())
        assert diagnostic.code.startswith("F1") and 1 <= diagnostic.col < diagnostic.end_col
    if not bad:
        by_name = {resource.name: resource for resource in parsed.resources}
        assert join_edges(parsed.resources) is not None
        for resource in parsed.resources:
            assert len(edges_of(resource, by_name)) == len(resource.relations) + len(resource.many)


@given(schema_files(), st.integers())
@settings(max_examples=60, deadline=None)
def test_a_file_with_spoiled_text_gives_a_resource_or_diagnostics(source: str, seed: int) -> None:
    survives(thing=spoil_text(source, seed))


@given(schema_files(), st.integers())
@settings(max_examples=100, deadline=None)
def test_a_file_with_a_spoiled_tree_gives_a_resource_or_diagnostics(source: str, seed: int) -> None:
    survives(thing=spoil_tree(source, seed))


@given(schema_projects(), st.integers())
@settings(max_examples=60, deadline=None)
def test_spoiled_files_that_refer_to_each_other_give_resources_or_diagnostics(
    files: dict[str, str], seed: int
) -> None:
    survives(**{folder: spoil_tree(text, seed) for folder, text in files.items()})


@given(schema_files(), st.integers())
@settings(max_examples=40, deadline=None)
def test_what_is_accepted_after_spoiling_means_the_same_when_it_is_imported(
    source: str, seed: int
) -> None:
    data = spoil_tree(source, seed)
    parsed = parse(thing=data)
    if parsed.resources:
        assert parsed.resources == resolve([imported("thing", data.decode())])
