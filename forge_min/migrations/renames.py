"""Renames: what is told or asked, never guessed; and the regular names that follow from it."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import BuildError
from .parts import Executor, Part, State, read_catalog, say

Named: TypeAlias = Mapping[str, Any]  # tables with their columns, or columns with their types
# Every table may have these: they say nothing about which table it is.
COMMON = {"id", "tenant_id", "version", "created_at", "updated_at", "deleted_at", "forge_search"}
SORTS = {"character varying": "text", "integer": "number", "bigint": "number", "numeric": "number"}
NAMED = ("constraint", "index", "policy", "view")


@dataclass(frozen=True, slots=True)
class Rename:
    """One rename. table: the table's name at that time."""

    kind: str
    table: str
    old: str
    new: str

    def sql(self, *, back: bool = False) -> str:
        """The statement that renames, or takes it back."""
        old, new = (self.new, self.old) if back else (self.old, self.new)
        return say(f"rename {self.kind}", Part(self.kind, self.table, old), old=old, new=new)

    def __str__(self) -> str:
        place = f" of {self.table}" if self.kind == "column" else ""
        return f"rename {self.kind} {self.old}{place} to {self.new}"


@dataclass
class Decisions:
    """What a person says. renames: "table.old=new", "old_table=new_table". drops: "table.column",
    "table": gone for good. ask: puts a yes-or-no question, None where nobody can answer.
    """

    renames: Sequence[str] = ()
    drops: Sequence[str] = ()
    ask: Callable[[str], bool] | None = None
    used: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)

    def between(
        self, table: str, before: Named, after: Named, alike: Callable[[Any, Any], bool]
    ) -> Iterator[Rename]:
        """What was renamed of the tables, or of the columns of one. alike: whether an old and a
        new one could be the same.
        """
        kind, place = ("column", f"{table}.") if table else ("table", "")
        free = sorted(after.keys() - before.keys())
        for old in sorted(before.keys() - after.keys()):
            likely = [new for new in free if alike(before[old], after[new])]
            new = self._choose(place + old, free, likely)
            if new:
                free.remove(new)
                yield Rename(kind, table, old, new)

    def _choose(self, old: str, free: list[str], likely: list[str]) -> str:
        """What `old` is called now; "" when it is gone, or nobody says."""
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
        """What is said of renames, as SQL: tables first."""
        said = [it.partition("=") for it in self.renames]
        tables = [Rename("table", "", old, new) for old, _, new in said if "." not in old]
        columns = [(*old.partition("."), new) for old, _, new in said if "." in old]
        found = [*tables, *(Rename("column", table, old, new) for table, _, old, new in columns)]
        return [each.sql() for each in found if each.old and each.new]

    def check(self) -> None:
        """Raises BuildError F335 for what nobody decided, F337 for decisions about nothing."""
        if self.unclear:
            flags = [f"--rename {it} or --drop {it.partition('=')[0]}" for it in self.unclear]
            message = f"was something renamed? {', '.join(self.unclear)}"
            raise BuildError(message, code="F335", hint="say " + ", ".join(flags))
        idle = sorted({*self.renames, *self.drops} - self.used)
        if idle:
            hint = "old names are of the migrations and gone, new ones of the schemas and new; "
            hint += "a name that is taken over needs two migrations"
            raise BuildError(f"{', '.join(idle)}: no such change", code="F337", hint=hint)


def rename(conn: Executor, wanted: State, theirs: set[str], decisions: Decisions) -> list[Rename]:
    """What was renamed, in order; done in this database.

    Raises BuildError F335 and F337 as Decisions.check.
    """
    done: list[Rename] = []
    for find in (_tables, _columns, _names):
        now = {k: p for k, p in read_catalog(conn).items() if p.identity not in theirs}
        for each in list(find(now, wanted, decisions)):
            conn.execute(each.sql())
            done.append(each)
        if find is _columns:
            decisions.check()
    return done


def name_not_null(renames: Sequence[Rename], *, back: bool = False) -> list[str]:
    """The statements that give NOT NULL its regular names, after these renames or without them."""
    tables = {r.new: r.old if back else r.new for r in renames if r.kind == "table"}
    tables |= {r.table: tables.get(r.table, r.table) for r in renames if r.kind == "column"}
    return [say("regular not null", Part("table", tables[table], "")) for table in sorted(tables)]


def _tables(now: State, wanted: State, decisions: Decisions) -> Iterator[Rename]:
    return decisions.between("", _types(now), _types(wanted), _share_half)


def _share_half(*tables: dict[str, str]) -> bool:
    a, b = ({column for column in t.items() if column[0] not in COMMON} for t in tables)
    return len(a & b) * 2 >= min(len(a), len(b)) > 0


def _columns(now: State, wanted: State, decisions: Decisions) -> Iterator[Rename]:
    old, new = _types(now), _types(wanted)
    for table in sorted(old.keys() & new.keys()):
        yield from decisions.between(table, old[table], new[table], operator.eq)


def _types(state: State) -> dict[str, dict[str, str]]:
    """The columns of each table, with what sort of type they have; what every table may have is
    like nothing. Of a table that somebody made by hand, those that a generated file added.
    """
    found: dict[str, dict[str, str]] = {key[1]: {} for key in state if key[0] == "table"}
    for part in state.values():
        if part.kind == "column":
            sort = part.name if part.name in COMMON else _sort(part)
            found.setdefault(part.table, {})[part.name] = sort
    return found


def _sort(part: Part) -> str:
    """Texts of any length are one sort, and so are numbers."""
    name = part.type.partition("(")[0]
    return SORTS.get(name, name)


def _names(now: State, wanted: State, _: Decisions) -> Iterator[Rename]:
    """What is the same by its definition, under another name."""
    missing = {key: part for key, part in wanted.items() if key not in now}
    for part in now.values():
        if part.kind in NAMED and part.key not in wanted:
            what = (part.kind, part.table, part.definition)
            same = [k for k, new in missing.items() if (*k[:2], new.definition) == what]
            if same:
                yield Rename(part.kind, part.table, part.name, missing.pop(same[0]).name)
