"""The next migration: what the schemas ask for, against what the migration files give.

Both are built for real in scratch databases and compared by catalog. What cannot be done without a
decision of a person (a type, a rename, a removal) is named and refused, never guessed.

A file that adds rules or indexes to a table that exists is no transaction: each step locks the
table for a moment only, and rows are read (VALIDATE, CONCURRENTLY) while others write. (PostgreSQL
manual, ALTER TABLE and CREATE INDEX; a CHECK in ADD COLUMN reads the whole table under its lock.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import BuildError
from ..parse.ir import ResourceIR
from .catalog import Executor, TableState, read_catalog
from .desired import Part, Table, desired_tables, tables_sql
from .names import identifier

HEAD = "-- forge: generated\n"
BY_STEP = "-- forge: no transaction\n"
DOWN = "\n-- forge: down\n"

Scratch = Callable[[], AbstractContextManager[Executor]]
Script = tuple[str, Sequence[str]]  # name, statements


class File(Protocol):
    """A migration file that exists: `db.MigrationFile` is one."""

    @property
    def name(self) -> str:
        """As in the folder: "0001_initial.sql"."""

    @property
    def statements(self) -> Sequence[str]:
        """Of the part that is applied."""

    @property
    def generated(self) -> bool:
        """Whether it is one of ours."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file that is not written yet. changes: one line for each, for a person."""

    path: Path
    sql: str
    changes: tuple[str, ...]

    def write(self) -> Path:
        """Write it, whole or not at all. Raises BuildError F333 when the file is there by now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(self.sql, encoding="utf-8")
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise BuildError(f"{self.path.name} exists already", code="F333") from None
        finally:
            draft.unlink()
        return self.path


def diff(
    root: Path,
    resources: Sequence[ResourceIR],
    files: Sequence[File],
    *,
    base: Sequence[File] = (),
    scratch: Scratch | None = None,
    name: str = "",
) -> Migration | None:
    """The migration that is missing, or None when the files already give what the schemas ask for.

    root: the project's folder. files: its migrations, in order. base: forge's own. scratch: gives
    a connection to an empty database, owned by its user; asked for twice, and only when there are
    generated files. name: the new file's ("add_gate"); "" takes one from the changes. Raises
    BuildError: F330 as desired_sql, F331 for changes that have to be written by hand, F332 when
    the files or the schemas do not make a database.
    """
    tables = desired_tables(resources)
    if not any(file.generated for file in files):
        return _initial(root, tables, files, name) if tables else None
    if scratch is None:
        raise BuildError("comparing with earlier migrations needs a database", code="F332")
    by_hand = [file for file in files if not file.generated]
    ours = ("the schemas", [tables_sql(tables)])
    now = _replayed(scratch, [*_scripts(base), *_scripts(files)])
    wanted = _replayed(scratch, [*_scripts(base), ours, *_scripts(by_hand)])
    return _Difference(now, wanted, tables).migration(root, files, name)


def _initial(root: Path, tables: list[Table], files: Sequence[File], name: str) -> Migration:
    names = ", ".join(identifier(table.name) for table in tables)
    sql = f"{HEAD}\n{tables_sql(tables)}{DOWN}drop table {names};\n"
    changes = tuple(f"create table {table.name}" for table in tables)
    return Migration(_path(root, files, name or "initial"), sql, changes)


def _path(root: Path, files: Sequence[File], name: str) -> Path:
    number = max((int(file.name[:4]) for file in files), default=0) + 1
    word = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:50] or "change"
    return root / "migrations" / f"{number:04}_{word}.sql"


def _scripts(files: Sequence[File]) -> list[Script]:
    return [(file.name, file.statements) for file in files]


def _replayed(scratch: Scratch, scripts: Sequence[Script]) -> dict[str, TableState]:
    with scratch() as conn:
        for name, statements in scripts:
            try:
                for statement in statements:
                    conn.execute(statement)
            except Exception as err:
                said = str(err).splitlines()[0]
                raise BuildError(f"{name} fails in an empty database: {said}", code="F332") from err
        return read_catalog(conn)


class _Difference:
    """Collects the steps from one state to the other; what has no step is kept in `refused`."""

    def __init__(
        self, now: dict[str, TableState], wanted: dict[str, TableState], tables: Sequence[Table]
    ) -> None:
        self.up: list[str] = []
        self.by_step: list[str] = []  # after `up`: what must not share a transaction with it
        self.down: list[str] = []
        self.changes: list[str] = []
        self.refused = [f"table {name} is gone" for name in sorted(now.keys() - wanted.keys())]
        created = [table for table in tables if table.name not in now]
        self._create(created)
        for table in tables:
            if table.name in now:
                self._compare(table, now[table.name], wanted[table.name])

    def migration(self, root: Path, files: Sequence[File], name: str) -> Migration | None:
        """The result. Raises BuildError F331 naming everything that was refused."""
        if self.refused:
            raise BuildError(
                "these changes have to be written by hand for now: " + "; ".join(self.refused),
                code="F331",
                hint="write migrations/NNNN_what_it_does.sql; its first line `-- forge: generated`"
                " makes it part of the generated state",
            )
        if not self.changes:
            return None
        head = HEAD + BY_STEP if self.by_step else HEAD
        up = "\n".join(self.up + self.by_step)
        sql = f"{head}\n{up}{DOWN}" + "".join(reversed(self.down))
        return Migration(_path(root, files, name or self.changes[0]), sql, tuple(self.changes))

    def _create(self, tables: Sequence[Table]) -> None:
        if tables:
            names = ", ".join(identifier(table.name) for table in tables)
            self.up.append(tables_sql(tables))
            self.down.append(f"drop table {names};\n")
            self.changes += [f"create table {table.name}" for table in tables]

    def _compare(self, table: Table, now: TableState, wanted: TableState) -> None:
        new = wanted.columns.keys() - now.columns.keys()
        for part in table.columns:
            if part.column in new:
                self._add_column(table, part)
        for part in (*table.constraints, *table.foreign_keys):
            if part.name not in now.constraints and part.column in new:
                self._add_constraint(table, part)
        for part in table.indexes:
            if part.name not in now.indexes:
                self._add_index(table, part)
        for kind in ("columns", "constraints", "indexes"):
            ours = {p.name for p in table.indexes} if kind == "indexes" else set()
            ours |= {p.name for p in table.constraints + table.foreign_keys if p.column in new}
            ours |= new if kind == "columns" else set()
            what = f"{table.name}: {kind.removesuffix('s').removesuffix('e')}"
            self._refuse(what, getattr(now, kind), getattr(wanted, kind), ours)

    def _add_column(self, table: Table, part: Part) -> None:
        if part.sql.endswith(" not null") and " default " not in part.sql:
            why = "is required and has no default for present rows"
            self.refused.append(f"{table.name}: column {part.column} {why}")
            return
        self.up.append(table.alter(f"add column {part.sql}"))
        self.down.append(table.alter(f"drop column {identifier(part.column)}"))
        self.changes.append(f"add column {part.column} to {table.name}")

    def _add_constraint(self, table: Table, part: Part) -> None:
        name = identifier(part.name)
        if part.sql.startswith("unique "):
            place = f"{identifier(table.name)} {part.sql.removeprefix('unique ')}"
            self._build(name, f"create unique index concurrently {name} on {place};\n")
            self.by_step.append(table.alter(f"add constraint {name} unique using index {name}"))
        else:
            self.by_step.append(table.alter(f"add constraint {name} {part.sql} not valid"))
            self.by_step.append(table.alter(f"validate constraint {name}"))

    def _add_index(self, table: Table, part: Part) -> None:
        name = identifier(part.name)
        self._build(name, part.sql.replace("create index", "create index concurrently", 1))
        self.down.append(f"drop index {name};\n")
        self.changes.append(f"create index {part.name}")

    def _build(self, name: str, create: str) -> None:
        """An interrupted build leaves an invalid index: it is removed before another try."""
        self.by_step.append(f"drop index concurrently if exists {name};\n{create}")

    def _refuse(
        self, what: str, now: dict[str, str], wanted: dict[str, str], ours: set[str]
    ) -> None:
        for name in sorted(now.keys() | wanted.keys()):
            old, new = now.get(name), wanted.get(name)
            if old == new or (old is None and name in ours):
                continue
            self.refused.append(f"{what} {name} {_change(old, new)}")


def _change(old: str | None, new: str | None) -> str:
    if old is None:
        return f"is new: {new}"
    return "is gone" if new is None else f"changes from ({old}) to ({new})"
