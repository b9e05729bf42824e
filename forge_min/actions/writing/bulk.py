"""Writing in bulk: many rows per statement, each row with its events, jobs and audit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ... import db
from ...errors import BadRequest, Conflict, FieldError, Invalid
from ...text import text
from ..base import Conn
from ..resource import Column, R
from . import statement
from .writer import AGAIN, Item, Params, Writer

Numbered = list[tuple[int, Item]]  # each with its place in the whole, from 0
Group = tuple[tuple[str, ...], list[tuple[int, Params]]]  # fields that are given, and such rows
BATCH = 1000


class Upserted(NamedTuple):
    """How many rows are new, changed, and were so already."""

    inserted: int
    updated: int
    unchanged: int


class Bulk(Writer[R]):
    """create_many and upsert_many.

    All or nothing: one transaction. Both raise Invalid whose pointers start with the item's place,
    from 0: "/17/name". An item may carry its own "id".
    """

    def create_many(self, items: Iterable[Item], *, conn: Conn = None) -> int:
        """Insert `BATCH` rows per statement. Returns the number of rows.

        Raises Conflict for a unique value that is taken.
        """
        self.allow("create")
        own = conn or self._database.connection()
        count = 0
        with db.transaction(own):
            for batch in _batches(items):
                rows = self._checked(batch)
                fields, pairs = self._linked(rows)
                sql = self._sql(statement.create, fields, True)
                params = _arrays(rows) | pairs
                ((made,),) = self._write(own, sql, params, _created)
                count += int(made)
        return count

    def upsert_many(self, items: Iterable[Item], *, key: str, conn: Conn = None) -> Upserted:
        """Insert the items, or update the rows that have the same value of `key` already.

        key: the primary key or a unique column. An item is checked as for a create; an update
        writes what the item gives, and nothing where that is the same. Raises BadRequest for
        another key, Invalid too where a field is immutable and another there.
        """
        self.allow("create")
        self.allow("update")
        unique = {c.name: c for c in self.resource.columns if c.unique or c is self.resource.key}
        if key not in unique:
            raise BadRequest(f"{key} is not unique here; these are: {', '.join(unique)}")
        on = unique[key]
        groups: Iterable[Group] = (g for b in _batches(items) for g in self._groups(b, on))
        if isinstance(items, Sequence):
            groups = list(groups)  # validated once, also if the transaction is tried again
        else:
            conn = conn or self.connection()  # what comes once cannot be tried again
        count = self._tried(conn, lambda own: self._upsert_all(own, groups, on))
        return Upserted(count["created"], count["updated"], count["unchanged"])

    def _upsert_all(self, conn: db.Connection, groups: Iterable[Group], on: Column) -> Counter[str]:
        count: Counter[str] = Counter()
        with db.transaction(conn):
            for given, rows in groups:
                count += self._upsert(conn, given, rows, on)
        return count

    def _checked(self, batch: Numbered, on: Column | None = None) -> list[Params]:
        """The values of each item. Raises Invalid with the errors of all."""
        found: list[Params] = []
        wrong: list[FieldError] = []
        for place, item in batch:
            errors = [] if on is None else self._not_upsertable(item, on)
            data = dict(item)
            id = data.pop("id", None) if self._makes_key else None
            try:
                found.append(self._new(data, id))
            except Invalid as err:
                errors += err.errors
            once = {e.pointer: e for e in errors}.values()
            wrong += [FieldError(f"/{place}{e.pointer}", e.code, e.message) for e in once]
        if wrong:
            raise Invalid(wrong, text("some values are not valid"))
        return found

    def _not_upsertable(self, item: Item, on: Column) -> list[FieldError]:
        refused = [field for field in self._links if field in item]
        wrong = [FieldError("/" + f, "unknown", text("cannot be given here")) for f in refused]
        if item.get(on.name) is None:
            wrong.append(FieldError("/" + on.name, "required", text("is required")))
        return wrong

    def _groups(self, batch: Numbered, on: Column) -> Iterator[Group]:
        """Items that fit one statement: they give the same columns, and no key stands twice."""
        groups = defaultdict(list)
        times: Counter[Any] = Counter()
        for (place, item), values in zip(batch, self._checked(batch, on)):
            for field in self._links:
                values.pop(field, None)
            given = tuple(c.name for c in self.resource.columns if c.name in item)
            groups[times[values[on.name]], given].append((place, values))
            times[values[on.name]] += 1
        for (_, given), rows in sorted(groups.items(), key=lambda group: group[0][0]):
            yield given, rows

    def _upsert(
        self, conn: db.Connection, given: Sequence[str], rows: list[tuple[int, Params]], on: Column
    ) -> Counter[str]:
        others = [name for name in given if name != on.name]
        changed = tuple(name for name in others if name not in self._frozen)
        # Nobody learns whether a hidden value is the given one.
        seen = self._frozen - self.hidden()
        frozen = tuple(name for name in others if name in seen)
        sql = self._sql(statement.upsert, tuple(rows[0][1]), changed, frozen, on)
        refused = {"immutable": text("cannot be changed")}
        refused["deleted"] = text("is the key of a deleted row")
        count: Counter[str] = Counter()
        for tried in range(AGAIN):
            try:
                with db.transaction(conn):
                    params = _arrays([values for _, values in rows])
                    found = self._write(conn, sql, params, _upserted)
            except Conflict:
                # Where the same value is unique twice (a key, and with its tenant), a row that
                # somebody is inserting now may hit the other rule. It is committed by now.
                if tried:
                    raise
                continue
            wrong = [
                FieldError(f"/{place}/{name}", state, refused[state])
                for (place, _), (state, names) in zip(rows, found, strict=True)
                for name in names
                if state in refused
            ]
            if wrong:
                raise Invalid(wrong, text("some values are not valid"))
            count.update(state for state, _ in found)
            rows = [row for row, (state, _) in zip(rows, found) if state == "missed"]
            if not rows:
                return count
        raise self._crowded()


def _created(rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    return {"create": sum(made for (made,) in rows)}


def _upserted(rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    count = Counter(state for state, _ in rows)
    return {"create": count["created"], "update": count["updated"]}


def _arrays(rows: Sequence[Params]) -> Params:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _batches(items: Iterable[Item]) -> Iterator[Numbered]:
    numbered = enumerate(items)
    while batch := list(islice(numbered, BATCH)):
        yield batch
