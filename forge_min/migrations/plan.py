"""The statements that lead from one state of a database to another, in an order that works.

Online, nobody waits for long: each statement locks a table for a moment only, and rows are read
(VALIDATE, CONCURRENTLY) while others write. (PostgreSQL manual, ALTER TABLE and CREATE INDEX; a
CHECK in ADD COLUMN reads the whole table under its lock.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Literal

from ..parse import constraint_name
from .parts import Key, Part, State, create, create_table, identifier, say

WIDER = {
    ("integer", "bigint"),
    ("integer", "numeric"),
    ("bigint", "numeric"),
    ("date", "timestamp with time zone"),
}


@dataclass(frozen=True, slots=True)
class Risk:
    """What a step may cost.

    destructive: data is lost. locking: clients wait for the table while all its rows are written
    anew. what: the step. why: for a person.
    """

    kind: Literal["destructive", "locking"]
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


def using(name: str, new: str) -> str:
    """The USING clause of a change of type.

    name: the column's, quoted. A string is assigned, which never cuts it; a cast would.
    """
    return "" if new.startswith("character varying") else f" using {name}::{new}"


def narrows(old: str, new: str) -> bool:
    """Whether the new type may not hold every value of the old one. Types as PostgreSQL names them:
    "character varying(5)", "numeric(6,2)".
    """
    (a, *before), (b, *after) = (re.findall(r"[a-z ]+|\d+", type) for type in (old, new))
    if not after:
        return b != "text" and a != b and (a, b) not in WIDER
    if a != b or not before:
        return True
    (size, scale), (new_size, new_scale) = ([*map(int, n), 0][:2] for n in (before, after))
    return new_scale < scale or new_size - new_scale < size - scale


REFERENCES = re.compile(r"references\s+(\S+?)\s*(\(.*?\))", re.IGNORECASE)
BY_HAND = ("option", "function", "sequence")
AT_ONCE = ("security", "policy", "view")
ORDER = ("table", "column", "check", "index", "foreign key", *AT_ONCE)  # of making


class Plan:
    """The steps from `now` to `wanted`, of the parts named by `keys` only.

    quick: belong together. steps: come after it, each by itself. last: what loses data.
    leftovers, remains: remove what steps leave behind when they are not all done, before and after
    the way back. changes: a line each, for a person. refused: what has no step here. missing:
    required columns without a value for present rows.
    """

    def __init__(self, now: State, wanted: State, keys: Set[Key], *, online: bool) -> None:
        self.quick: list[str] = []
        self.steps: list[str] = []
        self.last: list[str] = []
        self.leftovers: list[str] = []
        self.remains: list[str] = []
        self.changes: list[str] = []
        self.risks: list[Risk] = []
        self.refused: list[str] = []
        self.missing: list[str] = []
        self._online = online
        self._sort_out(now, wanted, [key for key in {**wanted, **now} if key in keys])
        self._describe()
        self._remove()
        for old, new in self._altered:
            self._alter(old, new)
        for part in sorted(self._new.values(), key=_rank):
            self._make(part)
        self._give_back_grants({**now, **wanted})
        self._lose()

    # -- what is to be done ------------------------------------------------------------------------

    def _sort_out(self, now: State, wanted: State, keys: list[Key]) -> None:
        """A part that differs is gone and new, but a plain column: that is altered.

        So is what stands in another one's way: views of a table whose columns change, computed
        columns of them, and the indexes on those.
        """
        both = [key for key in keys if key in now and key in wanted]
        differ = {key for key in both if now[key].definition != wanted[key].definition}
        computed = {k for k in both if now[k].generated or wanted[k].generated}
        plain = {key for key in differ - computed if key[0] == "column"}
        moved = {key for key in plain if now[key].type != wanted[key].type}
        moved |= {key for key in keys if key[0] == "column" and key not in wanted}
        remade = {key for key in computed if key in differ or _mentions(now[key], moved)}
        again = (differ - plain) | remade
        again |= {key for key in both if key[0] == "index" and _mentions(now[key], remade)}
        # A change of type would read all rows for a CHECK, under its lock.
        again |= {k for k in both if now[k].begins("check") and _mentions(now[k], moved)}
        tables = {table for _, table, _ in moved | remade}
        again |= {key for key in both if key[0] == "view" and key[1] in tables}
        self._altered = [(now[key], wanted[key]) for key in both if key in plain]
        self._gone = {k: now[k] for k in keys if k in now and (k not in wanted or k in again)}
        self._new = {k: wanted[k] for k in keys if k in wanted and (k not in now or k in again)}
        self._created = {part.table for part in self._new.values() if part.kind == "table"}
        self._dropped = {part.table for part in self._gone.values() if part.kind == "table"}
        kept = [part for part in self._gone.values() if part.table not in self._dropped]
        self._lost = [p for p in kept if p.kind == "column" and not p.generated]
        # What foreign keys may refer to, once it is built.
        unique = [p for p in self._new.values() if p.unique and p.table not in self._created]
        self._pending = {f"{identifier(part.table)}{part.indexed}" for part in unique}
        # What stays until another one of its name is built, unless a column takes it along.
        taken = remade | {key for key, part in self._gone.items() if part.generated}
        built = {(part.table, part.name) for part in self._new.values() if part.indexed}
        old = [p for p in self._gone.values() if p.indexed and (p.table, p.name) in built]
        stay = [part for part in old if self._online and not _mentions(part, taken)]
        self._swapped = {part.name: part for part in stay}

    def _describe(self) -> None:
        """The changes for a person, and those that only a person can make."""
        for key, part in sorted({**self._gone, **self._new}.items(), key=lambda i: _rank(i[1])):
            verb = "drop" if key not in self._new else "change" if key in self._gone else "add"
            kind, name = part.kind, part.name or part.table
            whole = part.table in self._created | self._dropped
            if verb == "change" and self._gone[key].definition == part.definition:
                continue  # only in another one's way
            if kind in BY_HAND or (kind == "table" and verb == "change"):
                self.refused.append(f"{verb} {kind} {name} {part.text}")
            elif part.begins("primary key") and not whole:
                self.refused.append(f"{verb} the key of {part.table}: {part.text}")
            elif kind == "table":
                self.changes.append(f"{verb.replace('add', 'create')} table {name}")
            elif not whole:
                place = {"add": "to", "drop": "from", "change": "of"}[verb]
                self.changes.append(f"{verb} {kind} {name} {place} {part.table}")

    # -- how it is done ----------------------------------------------------------------------------

    def _remove(self) -> None:
        """In the opposite order. What is swapped stays until the new one is built."""
        for part in sorted(self._gone.values(), key=_rank, reverse=True):
            whole = part.table in self._dropped and part.kind != "view"
            later = part in self._lost or part in self._swapped.values()
            if not (whole or later or part.kind in BY_HAND):
                self.quick.append(say(f"drop {part.kind}", part))

    def _alter(self, old: Part, new: Part) -> None:
        what, name = f"{new.table}.{new.name}", identifier(new.name)
        clauses = []
        if old.type != new.type:
            change = f"change type of {what} from {old.type} to {new.type}"
            self.changes.append(change)
            if narrows(old.type, new.type):
                why = "values that do not fit are cut or refused"
                self.risks.append(Risk("destructive", change, why))
            clauses += ["drop default"] if old.default else []
            clauses.append(f"type {new.type}{using(name, new.type)}")
            clauses += [f"set default {new.default}"] if new.default else []
        elif old.default != new.default:
            clauses.append(f"set default {new.default}" if new.default else "drop default")
        if old.default != new.default:
            self.changes.append(f"change default of {what} to {new.default or 'none'}")
        if old.required != new.required:
            self.changes.append(f"make {what} {'required' if new.required else 'optional'}")
            if self._online and new.required:
                self._require(new, name)
            else:
                clauses.append("set not null" if new.required else "drop not null")
        if clauses:
            text = ",\n  ".join(f"alter column {name} {clause}" for clause in clauses)
            self.quick.append(say("alter column", new, text))

    def _require(self, part: Part, name: str) -> None:
        """By a CHECK that is validated while others write: then SET NOT NULL reads no row."""
        rule = constraint_name(part.table, part.name, "present")
        check = Part("constraint", part.table, rule, f"check ({name} is not null)")
        self._add_unchecked(check, self.quick)
        self.steps += [say("require column", part), say("drop constraint", check)]
        self.leftovers.append(say("forget constraint", check))

    def _make(self, part: Part) -> None:
        inside = part.kind == "column" or (part.kind == "constraint" and not _refers(part))
        if part.kind in BY_HAND or (part.table in self._created and inside):
            return
        elif part.kind == "table":
            empty = "" if self._online else "-- Comes back empty.\n"
            self.quick.append(empty + create_table(part.table, self._new.values()))
        elif part.kind == "column":
            self._add_column(part)
        elif self._online and _refers(part) in self._pending:
            self._add_unchecked(part, self.steps)
        elif part.kind in AT_ONCE or part.table in self._created or not self._online:
            self.quick.append(create(part))
        elif part.indexed:
            self._build(part)
        else:
            self._add_unchecked(part, self.quick)

    def _add_column(self, part: Part) -> None:
        lacks = part.required and not part.default
        if not self._online and lacks:
            text = part.definition.removesuffix(" not null")
            self.quick.append(say("restore required column", part, text))
        else:
            self.missing += [f"{part.table}.{part.name}"] if lacks else []
            self.quick.append(say("create column" if self._online else "restore column", part))

    def _add_unchecked(self, part: Part, when: list[str]) -> None:
        """For new rows at once, for those that are there by a step of its own."""
        when.append(say("create constraint", part, f"{part.text} not valid"))
        self.steps.append(say("validate constraint", part))

    def _build(self, part: Part) -> None:
        """While others write. The old one goes when the new one is there."""
        old = self._swapped.get(part.name)
        name = constraint_name(part.name, "", "new") if old else part.name
        build = f"build {'unique ' * part.unique}index"
        self.steps.append(say("clear index", part, name=name))
        self.steps.append(say(build, part, part.indexed, name=name))
        swap = [say(f"drop {old.kind}", old)] if old else []
        if old:
            self.leftovers.append(say("forget index", part, name=name))
        elif part.kind == "constraint" and part.key not in self._gone:
            self.remains.append(say("forget index", part))
        if part.kind == "constraint":
            swap.append(say("take constraint", part, new=name))
        elif old:
            swap.append(say("rename index", part, old=name, new=part.name))
        self.steps += [together(swap)] if swap else []

    def _give_back_grants(self, known: State) -> None:
        """A view that is made anew gets back what was granted on it."""
        views = {part.name for part in self._new.values() if part.kind == "view"}
        granted = [p for p in known.values() if p.kind == "grant" and p.table in views]
        self.quick += [create(part) for part in granted]

    def _lose(self) -> None:
        for part in self._lost:
            what = f"drop column {part.table}.{part.name}"
            self.risks.append(Risk("destructive", what, "its values are lost"))
            self.last.append(say("drop column", part))
        tables = sorted(self._dropped)
        self.risks += [Risk("destructive", f"drop table {t}", "its rows are lost") for t in tables]
        if tables:
            self.last.append(f"drop table {', '.join(map(identifier, tables))};\n")


def together(statements: list[str]) -> str:
    """Several statements as one, for a file that has each by itself."""
    if len(statements) < 2:
        return "".join(statements)
    body, mark = "".join(statements), "$forge$"
    while mark in body:
        mark = mark[:-1] + "x$"
    return f"do {mark} begin\n{body}end {mark};\n"


def _rank(part: Part) -> int:
    rule = "foreign key" if _refers(part) else "index" if part.indexed else "check"
    kind = rule if part.kind == "constraint" else part.kind
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _refers(part: Part) -> str:
    """What a foreign key refers to: "countries(code)"; "" of other parts."""
    match = REFERENCES.search(part.text) if part.begins("foreign key") else None
    return f"{match[1]}{match[2]}" if match else ""


def _mentions(part: Part, columns: Iterable[Key]) -> bool:
    """Whether the definition names one of these columns of its table."""
    names = [name for _, table, name in columns if table == part.table]
    return any(re.search(rf"\b{re.escape(name)}\b", part.definition) for name in names)
