"""The statements from one state of a database to another, in a valid order.

Online migrations hold locks only briefly: rows are read (VALIDATE, CONCURRENTLY) while clients
write. (PostgreSQL manual, ALTER TABLE and CREATE INDEX; a CHECK in ADD COLUMN reads the whole table
under its lock.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Literal

from ..parse import constraint_name
from .objects import DbObject, Key, State, create, create_table, extensions, identifier, sql_for

WIDER = {
    ("integer", "bigint"),
    ("integer", "numeric"),
    ("bigint", "numeric"),
    ("integer", "double precision"),
    ("date", "timestamp with time zone"),
}
_TYPE = re.compile(r"[a-z \[\]]+|\d+")  # the name of a type, and its sizes


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of a step.

    kind: "destructive" if data is lost, "locking" if clients wait while a table is rewritten.
    what: the step.
    why: the reason, as text to show.
    """

    kind: Literal["destructive", "locking"]
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


def using(name: str, new: str) -> str:
    """Return the USING clause of a change of type.

    A string has none: an assignment never truncates it, a cast would.

    name: the quoted name of the column.
    """
    if new.startswith("character varying"):
        return ""
    return f" using {name}::{new}"


def narrows(old: str, new: str) -> bool:
    """Whether the new type may lack values of the old one.

    Types are named as by PostgreSQL: "character varying(5)", "numeric(6,2)".
    """
    name, *sizes = _TYPE.findall(old)
    new_name, *new_sizes = _TYPE.findall(new)
    if not new_sizes:
        return new_name not in ("text", name) and (name, new_name) not in WIDER
    if name != new_name or not sizes:
        return True
    size, scale = map(int, [*sizes, 0][:2])
    new_size, new_scale = map(int, [*new_sizes, 0][:2])
    return new_scale < scale or new_size - new_scale < size - scale


REFERENCES = re.compile(r"references\s+(\S+?)\s*(\(.*?\))", re.IGNORECASE)
BY_HAND = ("option", "function", "sequence")
FAST = ("security", "policy", "view")
ORDER = ("table", "column", "check", "index", "foreign key", *FAST)  # of creation


class Plan:
    """The steps from `now` to `wanted` for the objects in `keys`.

    quick: statements of one transaction.
    steps: following statements, each in its own transaction.
    last: statements that lose data.
    leftovers: remove results of unfinished steps, before the statements back.
    remains: the same, after the statements back.
    changes: one line of text per change.
    risks: the risks of all statements.
    refused: changes that must be written by hand.
    missing: required columns without a value for existing rows.
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
        self._classify(now, wanted, [key for key in {**wanted, **now} if key in keys])
        self._describe()
        self._drop()
        self.quick += extensions(self._new.values())
        for old, new in self._altered:
            self._alter(old, new)
        for obj in sorted(self._new.values(), key=_rank):
            self._create(obj)
        self._restore_grants({**now, **wanted})
        self._drop_data()

    # -- the changes -------------------------------------------------------------------------------

    def _classify(self, now: State, wanted: State, keys: list[Key]) -> None:
        """Sort the objects into altered, dropped and new ones.

        A plain column that differs is altered; any other object is dropped and created again. So
        are objects that depend on a changed column: views, generated columns and their indexes.
        """
        both = [key for key in keys if key in now and key in wanted]
        differ = {key for key in both if now[key].definition != wanted[key].definition}
        computed = {key for key in both if now[key].generated or wanted[key].generated}
        altered = {key for key in differ - computed if key[0] == "column"}
        moved = {key for key in altered if now[key].type != wanted[key].type}
        moved |= {key for key in keys if key[0] == "column" and key not in wanted}
        remade = {key for key in computed if key in differ or _mentions(now[key], moved)}
        tables = {table for _, table, _ in moved | remade}
        again = (differ - altered) | remade
        for key in both:
            obj = now[key]
            if obj.kind == "index" and _mentions(obj, remade):
                again.add(key)
            # Otherwise a change of type would check all rows under its lock.
            if obj.is_constraint("check") and _mentions(obj, moved):
                again.add(key)
            if obj.kind == "view" and obj.table in tables:
                again.add(key)
        self._altered = [(now[key], wanted[key]) for key in both if key in altered]
        self._removed = {}
        self._new = {}
        for key in keys:
            if key in now and (key in again or key not in wanted):
                self._removed[key] = now[key]
            if key in wanted and (key in again or key not in now):
                self._new[key] = wanted[key]
        self._created = {obj.table for obj in self._new.values() if obj.kind == "table"}
        self._dropped = {obj.table for obj in self._removed.values() if obj.kind == "table"}
        self._lost = []
        for obj in self._removed.values():
            if obj.kind == "column" and not obj.generated and obj.table not in self._dropped:
                self._lost.append(obj)
        self._classify_indexes(remade)

    def _classify_indexes(self, remade: set[Key]) -> None:
        """Find the indexes that are built in a step. remade: recreated generated columns."""
        self._pending = set()  # targets of foreign keys that exist only after a step
        built = set()
        for obj in self._new.values():
            if obj.unique and obj.table not in self._created:
                self._pending.add(f"{identifier(obj.table)}{obj.indexed}")
            if obj.indexed:
                built.add((obj.table, obj.name))
        # Indexes that stay until their successor is built, unless a dropped column drops them.
        self._swapped = {}
        if not self._online:
            return
        doomed = remade | {key for key, obj in self._removed.items() if obj.generated}
        for obj in self._removed.values():
            is_built = obj.indexed and (obj.table, obj.name) in built
            if is_built and not _mentions(obj, doomed):
                self._swapped[obj.name] = obj

    def _describe(self) -> None:
        """List the changes, and those that must be written by hand."""
        for key, obj in sorted({**self._removed, **self._new}.items(), key=lambda i: _rank(i[1])):
            if key not in self._new:
                verb = "drop"
            elif key in self._removed:
                verb = "change"
            else:
                verb = "add"
            kind = obj.kind
            name = obj.name or obj.table
            whole = obj.table in self._created | self._dropped
            if verb == "change" and self._removed[key].definition == obj.definition:
                continue  # recreated only because of another object
            if kind in BY_HAND or (kind == "table" and verb == "change"):
                self.refused.append(f"{verb} {kind} {name} {obj.text}")
            elif obj.is_constraint("primary key") and not whole:
                self.refused.append(f"{verb} the key of {obj.table}: {obj.text}")
            elif kind == "table":
                self.changes.append(f"{verb.replace('add', 'create')} table {name}")
            elif not whole:
                preposition = {"add": "to", "drop": "from", "change": "of"}[verb]
                self.changes.append(f"{verb} {kind} {name} {preposition} {obj.table}")

    # -- the statements ----------------------------------------------------------------------------

    def _drop(self) -> None:
        """Drop objects in reverse order. A swapped index stays until its successor is built."""
        for obj in sorted(self._removed.values(), key=_rank, reverse=True):
            with_table = obj.table in self._dropped and obj.kind != "view"
            later = obj in self._lost or obj in self._swapped.values()
            if not (with_table or later or obj.kind in BY_HAND):
                self.quick.append(sql_for(f"drop {obj.kind}", obj))

    def _alter(self, old: DbObject, new: DbObject) -> None:
        what = f"{new.table}.{new.name}"
        name = identifier(new.name)
        clauses = []
        if old.type != new.type:
            change = f"change type of {what} from {old.type} to {new.type}"
            self.changes.append(change)
            if narrows(old.type, new.type):
                why = "values that do not fit are truncated or refused"
                self.risks.append(Risk("destructive", change, why))
            if old.default:
                clauses.append("drop default")
            clauses.append(f"type {new.type}{using(name, new.type)}")
            if new.default:
                clauses.append(f"set default {new.default}")
        elif old.default != new.default:
            if new.default:
                clauses.append(f"set default {new.default}")
            else:
                clauses.append("drop default")
        if old.default != new.default:
            self.changes.append(f"change default of {what} to {new.default or 'none'}")
        if new.required and not old.required:
            self.changes.append(f"make {what} required")
            if self._online:
                self._require(new, name)
            else:
                clauses.append("set not null")
        elif old.required and not new.required:
            self.changes.append(f"make {what} optional")
            clauses.append("drop not null")
        if clauses:
            text = ",\n  ".join(f"alter column {name} {clause}" for clause in clauses)
            self.quick.append(sql_for("alter column", new, text))

    def _require(self, obj: DbObject, name: str) -> None:
        """Add a CHECK that is validated while clients write, so SET NOT NULL reads no row."""
        rule = constraint_name(obj.table, obj.name, "present")
        check = DbObject("constraint", obj.table, rule, f"check ({name} is not null)")
        self._add_unchecked(check, self.quick)
        self.steps += [sql_for("require column", obj), sql_for("drop constraint", check)]
        self.leftovers.append(sql_for("drop leftover constraint", check))

    def _create(self, obj: DbObject) -> None:
        if obj.kind in BY_HAND:
            return
        target = _refers(obj)
        is_new_table = obj.table in self._created
        if is_new_table and obj.kind in ("column", "constraint") and not target:
            return
        if obj.kind == "table":
            statement = create_table(obj.table, self._new.values())
            if not self._online:
                statement = f"-- It is restored without rows.\n{statement}"
            self.quick.append(statement)
        elif obj.kind == "column":
            self._add_column(obj)
        elif self._online and target in self._pending:
            self._add_unchecked(obj, self.steps)
        elif obj.kind in FAST or is_new_table or not self._online:
            self.quick.append(create(obj))
        elif obj.indexed:
            self._build(obj)
        else:
            self._add_unchecked(obj, self.quick)

    def _add_column(self, obj: DbObject) -> None:
        lacks_values = obj.required and not obj.default
        if self._online:
            if lacks_values:
                self.missing.append(f"{obj.table}.{obj.name}")
            self.quick.append(sql_for("create column", obj))
        elif lacks_values:
            text = obj.definition.removesuffix(" not null")
            self.quick.append(sql_for("restore required column", obj, text))
        else:
            self.quick.append(sql_for("restore column", obj))

    def _add_unchecked(self, obj: DbObject, statements: list[str]) -> None:
        """Add a constraint for new rows now; a later step validates existing rows."""
        statements.append(sql_for("create constraint", obj, f"{obj.text} not valid"))
        self.steps.append(sql_for("validate constraint", obj))

    def _build(self, obj: DbObject) -> None:
        """Build an index while clients write. Its predecessor is dropped afterwards."""
        name = obj.name
        swap = []
        old = self._swapped.get(name)
        if old:
            name = constraint_name(name, "", "new")
            swap.append(sql_for(f"drop {old.kind}", old))
            self.leftovers.append(sql_for("drop leftover index", obj, name=name))
        elif obj.kind == "constraint" and obj.key not in self._removed:
            self.remains.append(sql_for("drop leftover index", obj))
        entry = "build unique index" if obj.unique else "build index"
        self.steps.append(sql_for("clear index", obj, name=name))
        self.steps.append(sql_for(entry, obj, obj.indexed, name=name))
        if obj.kind == "constraint":
            swap.append(sql_for("attach index", obj, new=name))
        elif old:
            swap.append(sql_for("rename index", obj, old=name, new=obj.name))
        if swap:
            self.steps.append(as_one_statement(swap))

    def _restore_grants(self, known: State) -> None:
        """Restore the grants of recreated views."""
        views = {obj.name for obj in self._new.values() if obj.kind == "view"}
        for obj in known.values():
            if obj.kind == "grant" and obj.table in views:
                self.quick.append(create(obj))

    def _drop_data(self) -> None:
        for obj in self._lost:
            what = f"drop column {obj.table}.{obj.name}"
            self.risks.append(Risk("destructive", what, "its values are lost"))
            self.last.append(sql_for("drop column", obj))
        tables = sorted(self._dropped)
        for table in tables:
            self.risks.append(Risk("destructive", f"drop table {table}", "its rows are lost"))
        if tables:
            names = ", ".join(map(identifier, tables))
            self.last.append(f"drop table {names};\n")


def as_one_statement(statements: list[str]) -> str:
    """Combine statements into one, for a file that runs each in its own transaction."""
    body = "".join(statements)
    if len(statements) < 2:
        return body
    quote = "$forge$"
    while quote in body:
        quote = quote[:-1] + "x$"
    return f"do {quote} begin\n{body}end {quote};\n"


def _rank(obj: DbObject) -> int:
    kind = obj.kind
    if kind == "constraint":
        kind = "check"
        if _refers(obj):
            kind = "foreign key"
        elif obj.indexed:
            kind = "index"
    if kind not in ORDER:
        return len(ORDER)
    return ORDER.index(kind)


def _refers(obj: DbObject) -> str:
    """Return the target of a foreign key: "countries(code)"; "" for other objects."""
    if not obj.is_constraint("foreign key"):
        return ""
    match = REFERENCES.search(obj.text)
    if match is None:
        return ""
    return f"{match[1]}{match[2]}"


def _mentions(obj: DbObject, columns: Iterable[Key]) -> bool:
    """Whether the definition contains one of these columns of its table."""
    names = [name for _, table, name in columns if table == obj.table]
    return any(re.search(rf"\b{re.escape(name)}\b", obj.definition) for name in names)
