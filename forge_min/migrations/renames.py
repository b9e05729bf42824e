"""Renames: decided by options or answers, never guessed. Derived names follow them."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import BuildError
from .objects import DbObject, Executor, State, read_catalog, sql_for

ByName: TypeAlias = Mapping[str, Any]  # table → columns, or column → type
# Columns that every table may have: they do not identify a table.
COMMON = {"id", "tenant_id", "version", "created_at", "updated_at", "deleted_at", "forge_search"}
GROUPS = {"character varying": "text", "integer": "number", "bigint": "number", "numeric": "number"}
DERIVED = ("constraint", "index", "policy", "view")


@dataclass(frozen=True, slots=True)
class Rename:
    """One rename. table: the table's name at that time."""

    kind: str
    table: str
    old: str
    new: str

    def sql(self, *, back: bool = False) -> str:
        """Return the statement. back: rename it back."""
        old = self.old
        new = self.new
        if back:
            old, new = new, old
        obj = DbObject(self.kind, self.table, old)
        return sql_for(f"rename {self.kind}", obj, old=old, new=new)

    def __str__(self) -> str:
        name = self.old
        if self.kind == "column":
            name += f" of {self.table}"
        return f"rename {self.kind} {name} to {self.new}"


@dataclass
class Decisions:
    """The decisions of the developer.

    renames: "table.old=new" or "old_table=new_table".
    drops: "table.column" or "table": removed, not renamed.
    ask: asks a yes-or-no question; None if the command is not interactive.
    used: the decisions that matched a change so far.
    unclear: likely renames without a decision.
    """

    renames: Sequence[str] = ()
    drops: Sequence[str] = ()
    ask: Callable[[str], bool] | None = None
    used: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)

    def find_renames(
        self, table: str, before: ByName, after: ByName, is_similar: Callable[[Any, Any], bool]
    ) -> Iterator[Rename]:
        """Yield the renamed columns of a table.

        table: "" for the renamed tables.
        is_similar: whether an old and a new value may belong to the same object.
        """
        kind = "table"
        prefix = ""
        if table:
            kind = "column"
            prefix = f"{table}."
        free = sorted(after.keys() - before.keys())
        for old in sorted(before.keys() - after.keys()):
            likely = [new for new in free if is_similar(before[old], after[new])]
            new = self._choose(prefix + old, free, likely)
            if new:
                free.remove(new)
                yield Rename(kind, table, old, new)

    def _choose(self, old: str, free: list[str], likely: list[str]) -> str:
        """Return the new name of `old`; "" if it was dropped or without a decision."""
        if old in self.drops:
            self.used.add(old)
            return ""
        for new in free:
            if f"{old}={new}" in self.renames:
                self.used.add(f"{old}={new}")
                return new
        for new in difflib.get_close_matches(old, likely, n=9, cutoff=0):
            if self.ask is None:
                self.unclear.append(f"{old}={new}")
                break
            if self.ask(f"was {old} renamed to {new}?"):
                return new
        return ""

    def statements(self) -> list[str]:
        """Return the decided renames as SQL, tables first."""
        tables = []
        columns = []
        for rename in self.renames:
            old, _, new = rename.partition("=")
            table, dot, column = old.partition(".")
            if dot:
                columns.append(Rename("column", table, column, new))
            else:
                tables.append(Rename("table", "", old, new))
        return [rename.sql() for rename in tables + columns if rename.old and rename.new]

    def check(self) -> None:
        """Raise BuildError F335 for undecided renames, and decisions that match no change."""
        if self.unclear:
            flags = []
            for rename in self.unclear:
                old = rename.partition("=")[0]
                flags.append(f"--rename {rename} or --drop {old}")
            message = f"was this renamed? {', '.join(self.unclear)}"
            raise BuildError(message, code="F335", hint=f"add {', '.join(flags)}")
        unused = sorted({*self.renames, *self.drops} - self.used)
        if unused:
            hint = "OLD must be in migrations only, NEW in schemas only; reuse needs two migrations"
            raise BuildError(f"{', '.join(unused)}: no change matches", code="F335", hint=hint)


def apply_renames(
    conn: Executor, wanted: State, hand_written: set[str], decisions: Decisions
) -> list[Rename]:
    """Find the renames and apply them in this database. Returns them in order.

    Raises BuildError F335 as Decisions.check.
    """
    done = []
    for find in (_tables, _columns, _names):
        now = {k: p for k, p in read_catalog(conn).items() if p.identity not in hand_written}
        for rename in list(find(now, wanted, decisions)):
            conn.execute(rename.sql())
            done.append(rename)
        if find is _columns:
            decisions.check()
    return done


def _tables(now: State, wanted: State, decisions: Decisions) -> Iterator[Rename]:
    return decisions.find_renames("", _types(now), _types(wanted), _share_half)


def _share_half(before: ByName, after: ByName) -> bool:
    columns = {column for column in before.items() if column[0] not in COMMON}
    new_columns = {column for column in after.items() if column[0] not in COMMON}
    shared = len(columns & new_columns)
    return shared * 2 >= min(len(columns), len(new_columns)) > 0


def _columns(now: State, wanted: State, decisions: Decisions) -> Iterator[Rename]:
    before = _types(now)
    after = _types(wanted)
    for table in sorted(before.keys() & after.keys()):
        yield from decisions.find_renames(table, before[table], after[table], operator.eq)


def _types(state: State) -> dict[str, dict[str, str]]:
    """Return table → column → group of its type; a common column has its own group.

    All texts are one group, and so are all numbers.

    Of a hand-made table only columns of generated files are included.
    """
    tables: dict[str, dict[str, str]] = {key[1]: {} for key in state if key[0] == "table"}
    for obj in state.values():
        if obj.kind == "column":
            name = obj.type.partition("(")[0]
            group = obj.name if obj.name in COMMON else GROUPS.get(name, name)
            tables.setdefault(obj.table, {})[obj.name] = group
    return tables


def _names(now: State, wanted: State, _: Decisions) -> Iterator[Rename]:
    """Yield the objects that have the same definition under another name."""
    missing = {key: obj for key, obj in wanted.items() if key not in now}
    for obj in now.values():
        if obj.kind not in DERIVED or obj.key in wanted:
            continue
        for key, new in missing.items():
            if key[:2] == obj.key[:2] and new.definition == obj.definition:
                yield Rename(obj.kind, obj.table, obj.name, new.name)
                del missing[key]
                break
