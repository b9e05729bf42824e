"""Renames: what is told or asked, never guessed; and the regular names that follow from it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..errors import BuildError
from .catalog import Executor, read_catalog
from .parts import Part, State, say

Ask = Callable[[str], bool]
# Every table may have these: they say nothing about which table it is.
COMMON = {"id", "tenant_id", "version", "created_at", "updated_at", "deleted_at", "forge_search"}
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
    ask: Ask | None = None
    used: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)

    def pairs(
        self, prefix: str, lost: Iterable[str], gained: Iterable[str], alike: Callable[..., bool]
    ) -> Iterator[tuple[str, str]]:
        """(old, new) of what was renamed. prefix: "table." of a column. alike: whether old and
        new could be the same.
        """
        free = sorted(gained)
        for old in sorted(lost):
            new = self._choose(prefix + old, free, partial(alike, old))
            if new:
                free.remove(new)
                yield old, new

    def _choose(self, old: str, free: list[str], alike: Callable[[str], bool]) -> str:
        """What `old` is called now; "" when it is gone, or nobody says."""
        if old in self.drops:
            self.used.add(old)
            return ""
        for new in free:
            if f"{old}={new}" in self.renames:
                self.used.add(f"{old}={new}")
                return new
        near = difflib.get_close_matches(old, [n for n in free if alike(n)], n=9, cutoff=0)
        if near and self.ask is None:
            self.unclear.append(f"{old}={near[0]}")
            return ""
        return next((n for n in near if self.ask and self.ask(f"was {old} renamed to {n}?")), "")

    def check(self) -> None:
        """Raises BuildError F335 for what nobody decided, F337 for decisions about nothing."""
        if self.unclear:
            flags = [f"--rename {it} or --drop {it.partition('=')[0]}" for it in self.unclear]
            message = f"was something renamed? {', '.join(self.unclear)}"
            raise BuildError(message, code="F335", hint="say " + ", ".join(flags))
        idle = sorted({*self.renames, *self.drops} - self.used)
        if idle:
            hint = "old names are those of the migrations, new ones those of the schemas"
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
    old, new = _types(now), _types(wanted)

    def alike(lost: str, gained: str) -> bool:
        a, b = ({c for c in t.items() if c[0] not in COMMON} for t in (old[lost], new[gained]))
        return len(a & b) * 2 >= max(len(a), len(b))

    for pair in decisions.pairs("", old.keys() - new.keys(), new.keys() - old.keys(), alike):
        yield Rename("table", "", *pair)


def _columns(now: State, wanted: State, decisions: Decisions) -> Iterator[Rename]:
    old, new = _types(now), _types(wanted)
    for table in sorted(old.keys() & new.keys()):
        before, after = old[table], new[table]
        lost, gained = before.keys() - after.keys(), after.keys() - before.keys()
        alike = partial(_of_one_type, before, after)
        for pair in decisions.pairs(f"{table}.", lost, gained, alike):
            yield Rename("column", table, *pair)


def _types(state: State) -> dict[str, dict[str, str]]:
    """The columns of each table, with their types."""
    found: dict[str, dict[str, str]] = {key[1]: {} for key in state if key[0] == "table"}
    for part in state.values():
        if part.column:
            found[part.table][part.name] = part.column.type
    return found


def _of_one_type(before: dict[str, str], after: dict[str, str], lost: str, gained: str) -> bool:
    return before[lost] == after[gained] and not {lost, gained} & COMMON


def _names(now: State, wanted: State, _: Decisions) -> Iterator[Rename]:
    """What is the same by its definition, under another name."""
    missing = {key: part for key, part in wanted.items() if key not in now}
    for part in now.values():
        if part.kind in NAMED and part.key not in wanted:
            what = (part.kind, part.table, part.definition)
            same = [k for k, new in missing.items() if (*k[:2], new.definition) == what]
            if same:
                yield Rename(part.kind, part.table, part.name, missing.pop(same[0]).name)
