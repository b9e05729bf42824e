"""Writing in bulk: many rows per statement, each row with its events, jobs and audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from ... import db
from ...errors import BadRequest, FieldError, Invalid
from ...text import text
from ..check import Check
from ..resource import Column
from . import statement
from .writer import AGAIN, Params, Writer

R = TypeVar("R")
Item = Mapping[str, object]
Numbered = list[tuple[int, Params]]  # each with its place in the whole, from 0
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

    def create_many(self, items: Iterable[Item], *, conn: db.Connection | None = None) -> int:
        """Insert `BATCH` rows per statement. Returns the number of rows.

        Raises Conflict for a unique value that is taken.
        """
        self.allow("create")
        own = conn or self._database.connection()
        count = 0
        with db.transaction(own):
            for batch in _batches(items):
                rows = [values for _, _, values in self._checked(batch)]
                fields, pairs = self._linked(rows)
                sql = self._sql(statement.create, fields, True)
                ((made,),) = self._write(own, sql, _arrays(rows) | pairs, "create")
                count += int(made)
        return count

    def upsert_many(
        self, items: Iterable[Item], *, key: str, conn: db.Connection | None = None
    ) -> Upserted:
        """Insert the items, or update the rows that have the same value of `key` already.

        key: the primary key or a unique column. An item is checked as for a create; an update
        writes what the item gives, and nothing where that is the same. Raises BadRequest for
        another key, Invalid too where a field is immutable and another there.
        """
        self.allow("create")
        self.allow("update")
        on = self.resource.column(key)
        if on is None or not (on.unique or on is self.resource.key):
            unique = [c.name for c in self.resource.columns if c.unique or c is self.resource.key]
            raise BadRequest(f"{key} is not unique here; these are: {', '.join(unique)}")
        own = conn or self._database.connection()
        count: Counter[str] = Counter()
        with db.transaction(own):
            for batch in _batches(items):
                for given, rows in self._groups(batch, on):
                    count += self._upsert(own, given, rows, on)
        return Upserted(count["created"], count["updated"], count["unchanged"])

    def _checked(
        self, batch: Iterable[tuple[int, Item]], on: Column | None = None
    ) -> list[tuple[int, Item, Params]]:
        """Each item with its values. Raises Invalid with the errors of all."""
        found: list[tuple[int, Item, Params]] = []
        wrong: list[FieldError] = []
        for place, item in batch:
            try:
                values = self._values(dict(item))
                if on is not None:
                    self._may_upsert(item, values, on)
                found.append((place, item, values))
            except Invalid as err:
                wrong += [FieldError(f"/{place}{e.pointer}", e.code, e.message) for e in err.errors]
        if wrong:
            raise Invalid(wrong, text("some values are not valid"))
        return found

    def _values(self, item: dict[str, object]) -> Params:
        given = item.pop("id", None) if self._makes_key else None
        values = self._new(item)
        if given is not None:
            check = Check({"id": given})
            check.uuid("id")
            values["id"] = check.result()["id"]
        return values

    def _may_upsert(self, item: Item, values: Params, on: Column) -> None:
        wrong = [
            FieldError("/" + field, "unknown", text("cannot be given here"))
            for field in self._links
            if field in item
        ]
        if on.name not in item or values[on.name] is None:
            wrong.append(FieldError("/" + on.name, "required", text("is required")))
        if wrong:
            raise Invalid(wrong)

    def _groups(
        self, batch: Iterable[tuple[int, Item]], on: Column
    ) -> Iterator[tuple[tuple[str, ...], Numbered]]:
        """Items that fit one statement: they give the same columns, and no key stands twice."""
        groups: dict[tuple[int, tuple[str, ...]], Numbered] = {}
        times: Counter[Any] = Counter()
        for place, item, values in self._checked(batch, on):
            for field in self._links:
                values.pop(field, None)
            given = tuple(c.name for c in self.resource.columns if c.name in item)
            group = (times[values[on.name]], given)
            times[values[on.name]] += 1
            groups.setdefault(group, []).append((place, values))
        for (_, given), rows in sorted(groups.items(), key=lambda group: group[0][0]):
            yield given, rows

    def _upsert(
        self, conn: db.Connection, given: Sequence[str], rows: Numbered, on: Column
    ) -> Counter[str]:
        frozen = tuple(n for n in given if n in self._frozen and n != on.name)
        changed = tuple(n for n in given if n not in frozen and n != on.name)
        sql = self._sql(statement.upsert, tuple(rows[0][1]), changed, frozen, on)
        refused = {"immutable": text("cannot be changed")}
        refused["deleted"] = text("is the key of a deleted row")
        count: Counter[str] = Counter()
        for _ in range(AGAIN):
            params = _arrays([values for _, values in rows])
            found = self._write(conn, sql, params, "create", "update")
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


def _arrays(rows: Sequence[Params]) -> Params:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _batches(items: Iterable[Item]) -> Iterator[list[tuple[int, Item]]]:
    numbered = enumerate(items)
    while batch := list(islice(numbered, BATCH)):
        yield batch
