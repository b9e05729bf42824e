"""The wide project: it uses every word of the language, and its code passes the tools of users."""

from __future__ import annotations

import compileall
import dataclasses
import importlib
import os
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min import db, schema
from forge_min.generate import compare_scaffold, generate
from forge_min.parse import join_edges, parse_project
from forge_min.testing import TestDatabase

TESTS = Path(__file__).parents[1]
EXAMPLE = TESTS.parent / "examples" / "departures"
RESOURCES = parse_project(TESTS / "wide").resources
# What no text can say otherwise: places, and what always stands.
ALWAYS = {"span", "name", "type", "kind", "target"}


def used(values: list[Any]) -> set[str]:
    """The attributes that have another value than the usual one in at least one of `values`."""
    found = set()
    for value in values:
        for field in dataclasses.fields(value):
            if field.name in ALWAYS or getattr(value, field.name) != field.default:
                found.add(field.name)
    return found


def all_of(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_the_wide_schemas_use_every_word_of_the_language() -> None:
    text = "".join(path.read_text() for path in (TESTS / "wide").glob("resources/*/schema.py"))
    words = [name for name in schema.__all__ if name[0].islower()]
    assert [word for word in words if f"schema.{word}(" not in text] == []
    fields = [field for r in RESOURCES for field in r.fields]
    assert {field.type for field in fields} == set(typing.get_args(schema.FieldType))
    assert used(fields) >= all_of(schema.Field)
    relations = [relation for r in RESOURCES for relation in r.relations]
    assert used(relations) >= all_of(schema.BelongsTo)
    assert {r.on_delete for r in relations} == set(typing.get_args(schema.OnDelete))
    assert used([job for r in RESOURCES for job in r.hooks.all]) == all_of(schema.JobRef)
    assert all(many.kind for r in RESOURCES for many in r.many if many.via or many.table)
    asked = {permission.operation for r in RESOURCES for permission in r.permissions}
    assert {"read", "create", "update", "delete", "restore"} < asked
    assert {"uuid", "string", "slug", "bigint"} == {r.key.type for r in RESOURCES if r.key.declared}
    names = [r.table for r in RESOURCES] + [m.column for r in RESOURCES for m in r.members]
    assert max(map(len, names)) == 63 and max(len(r.name) for r in RESOURCES) == 63
    assert {"class", "select", "from", "self", "order"} <= {*names, *(r.folder for r in RESOURCES)}


def test_what_is_scaffolded_is_what_is_committed() -> None:
    states, changes = compare_scaffold(TESTS / "wide", *RESOURCES)
    assert set(states.values()) == {"as scaffolded"}, changes


@pytest.fixture(scope="module", params=["wide", "example"])
def code(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with fresh gen/."""
    if request.param == "wide":
        return request.getfixturevalue("wide_project")  # type: ignore[no-any-return]
    root = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE / "resources", root / "resources")
    shutil.copytree(EXAMPLE / "views", root / "views")
    for name in ("app.py", "forge.toml"):
        shutil.copy(EXAMPLE / name, root / name)
    generate(root, parse_project(root).resources)
    return root


def run(root: Path, *command: str) -> None:
    package = str(Path(forge_min.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=os.environ | {"MYPYPATH": f"{root}{os.pathsep}{package}", "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_generated_code_passes_ruff_with_its_own_rules(code: Path) -> None:
    run(code, "-m", "ruff", "check", "--isolated", "--no-cache", "gen", "resources")


@pytest.mark.slow
@pytest.mark.thorough
def test_the_generated_code_passes_mypy_strict(code: Path, tmp_path: Path) -> None:
    options = ["--cache-dir", str(tmp_path), "--follow-imports=silent", "--explicit-package-bases"]
    ours = ["gen"] if code.name.startswith("example") else ["gen", "resources", "app.py"]
    run(code, "-m", "mypy", "--strict", *options, *ours)


def test_the_generated_code_compiles_and_warns_of_nothing(code: Path) -> None:
    assert compileall.compile_dir(code / "gen", quiet=1, force=True)
    for path in (code / "gen").rglob("*.py"):
        compile(path.read_text(), path.name, "exec", dont_inherit=True)  # warnings are errors


def test_neither_the_package_nor_the_registry_loads_the_factories(wide_code: Path) -> None:
    importlib.import_module("gen.registry")
    assert not [name for name in sys.modules if name.endswith(".factory") and "gen." in name]


@pytest.fixture
def owner(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    conn = db.connect(fresh_database.owner_url)
    yield conn
    conn.close()


@pytest.fixture
def tables(wide_project: Path, owner: db.Connection) -> db.Connection:
    """A connection of the owner to a database with the wide tables."""
    db.migrate(owner, db.read_migrations(wide_project / "migrations"))
    return owner


CONSTRAINTS = """
select c.conname from pg_constraint c
where c.conrelid = %(table)s::regclass and c.contype in ('c', 'u', 'p', 'f')
union
select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid
where x.indrelid = %(table)s::regclass and x.indisunique
"""
INDEXES = """
select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid
where x.indrelid = %(table)s::regclass and not x.indisunique
"""


@pytest.mark.db
def test_every_constraint_of_the_tables_is_the_error_of_a_field(
    wide_code: Path, tables: db.Connection
) -> None:
    for resource in RESOURCES:
        data = importlib.import_module(f"gen.{resource.folder}").RESOURCE
        found = {name for (name,) in tables.execute(CONSTRAINTS, {"table": resource.table})}
        own = {name for name in data.constraints if not _of_a_join(name)}
        indexes = {name for (name,) in tables.execute(INDEXES, {"table": resource.table})}
        assert (own | data.rules.keys()) - indexes == found, resource.name
        filtered = {c.name for c in data.columns if c.filterable} - {"created_at", "updated_at"}
        told = {data.constraints[name] for name in own}
        assert filtered - {r.column for r in data.relations} <= told
        assert set(data.constraints.values()) <= _fields(data)
    for link in join_edges(RESOURCES):
        rows = tables.execute(
            "select conname from pg_constraint where contype = 'f' and conrelid = %s::regclass",
            [link.join],
        )
        mapped = [name for r in RESOURCES for name in _constraints_of(r.folder)]
        assert {name for (name,) in rows} & set(mapped), link.join


def _of_a_join(name: str) -> bool:
    return any(name.startswith(link.join) for link in join_edges(RESOURCES))


def _constraints_of(folder: str) -> dict[str, str]:
    return dict(importlib.import_module(f"gen.{folder}").RESOURCE.constraints)


def _fields(data: Any) -> set[str]:
    return {c.name for c in data.columns} | {r.field for r in data.relations if r.field}


@pytest.mark.db
def test_the_generated_statements_are_those_of_the_tables(
    wide_code: Path, tables: db.Connection
) -> None:
    for resource in RESOURCES:
        data = importlib.import_module(f"gen.{resource.folder}").RESOURCE
        described = tables.execute(data.select + " limit 0").description
        assert described and [column.name for column in described] == [
            column.column for column in resource.columns
        ]
        tenant = {"forge_tenant": None, "forge_actor": None}
        for statement in (data.insert, data.insert_many):
            blank = dict.fromkeys([column.name for column in data.columns]) | tenant
            tables.execute("explain " + statement, blank)
