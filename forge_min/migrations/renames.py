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
        old, new = (self.new, self.old) if back else (self.old, self.new)
        obj = DbObject(self.kind, self.table, old)
        return sql_for(f"rename {self.kind}", obj, old=old, new=new)

    def __str__(self) -> str:
        owner = f" of {self.table}" if self.kind == "column" else ""
        return f"rename {self.kind} {self.old}{owner} to {self.new}"


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
        kind, prefix = ("column", f"{table}.") if table else ("table", "")
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
        near = difflib.get_close_matches(old, likely, n=9, cutoff=0)
        if near and self.ask is None:
            self.unclear.append(f"{old}={near[0]}")
            return ""
        return next((n for n in near if self.ask and self.ask(f"was {old} renamed to {n}?")), "")

    def statements(self) -> list[str]:
        """Return the decided renames as SQL, tables first."""
        pairs = [rename.partition("=") for rename in self.renames]
        tables = [Rename("table", "", old, new) for old, _, new in pairs if "." not in old]
        columns = [(*old.partition("."), new) for old, _, new in pairs if "." in old]
        renames = [*tables, *(Rename("column", table, old, new) for table, _, old, new in columns)]
        return [rename.sql() for rename in renames if rename.old and rename.new]

    def check(self) -> None:
        """Raise BuildError F335 for undecided renames, F337 for decisions that match no change."""
        if self.unclear:
            flags = [f"--rename {it} or --drop {it.partition('=')[0]}" for it in self.unclear]
            message = f"was this renamed? {', '.join(self.unclear)}"
            raise BuildError(message, code="F335", hint="add " + ", ".join(flags))
        unused = sorted({*self.renames, *self.drops} - self.used)
        if unused:
            hint = "OLD must be in migrations only, NEW in schemas only; reuse needs two migrations"
            raise BuildError(f"{', '.join(unused)}: no change matches", code="F337", hint=hint)


def apply_renames(
    conn: Executor, wanted: State, hand_written: set[str], decisions: Decisions
) -> list[Rename]:
    """Find the renames and apply them in this database. Returns them in order.

    Raises BuildError F335 and F337 as Decisions.check.
    """
    done: list[Rename] = []
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


def _share_half(*tables: dict[str, str]) -> bool:
    a, b = ({column for column in t.items() if column[0] not in COMMON} for t in tables)
    return len(a & b) * 2 >= min(len(a), len(b)) > 0


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
        if obj.kind in DERIVED and obj.key not in wanted:
            what = (obj.kind, obj.table, obj.definition)
            same = [k for k, new in missing.items() if (*k[:2], new.definition) == what]
            if same:
                yield Rename(obj.kind, obj.table, obj.name, missing.pop(same[0]).name)
