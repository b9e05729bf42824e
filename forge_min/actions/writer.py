"""What every write goes through: values are checked, the statement is sent, readers are woken, and
a broken rule of the table becomes the error of a field.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import islice
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from .. import db, jobs
from ..auth import current_identity
from ..errors import (
    BadRequest,
    Conflict,
    ConstraintViolation,
    DomainError,
    FieldError,
    Invalid,
    PreconditionRequired,
    StaleVersion,
    Unavailable,
)
from ..i18n import later, text
from ..observe import log_fields
from . import statement
from .base import Base, Conn, Rows
from .check import Check, Operation
from .resource import Column, R
from .values import TYPES, uuid7

Item = Mapping[str, object]  # field → value, as the caller gave it
Params = dict[str, Any]
Numbered = list[tuple[int, Item]]  # each with its place in the whole, from 0
Group = tuple[tuple[str, ...], list[tuple[int, Params]]]  # fields that are given, and such rows
Headers = list[tuple[str, str]]
Run = Callable[[db.Connection], tuple[int, Headers, bytes]]
BATCH = 1000  # rows of one statement
_IDEMPOTENCY = db.load_sql("forge_min.actions", "idempotency.sql")
# Kind of a rule → the code and message of a value that only the table could find wrong.
_VIOLATIONS = {
    "unique": ("taken", later("is already taken")),
    "foreign_key": ("no_such_row", later("refers to a row that does not exist")),
    "not_null": ("required", later("is required")),
    "exclusion": ("taken", later("overlaps another row")),
    "check": ("out_of_range", later("breaks a rule of the table")),
}
ANY_VERSION = 0  # names whatever version there is; a row's own begin at 1
INDEXED = 2000  # characters that an index surely holds
MAX_KEY = 500  # characters of a key that is part of a URL
AGAIN = 10  # times that a statement is sent anew because others were faster


class Upserted(NamedTuple):
    """How many rows are new, changed, and were so already."""

    inserted: int
    updated: int
    unchanged: int


class Writer(Base[R]):
    """The writing half of a resource's actions: what every write goes through, and bulk writes.

    `create_many` and `upsert_many` are all or nothing: one transaction. Both raise Invalid whose
    pointers start with the item's place, from 0: "/17/name". An item may carry its own "id".
    """

    def __init__(self, database: db.Database) -> None:
        super().__init__(database)
        resource = self.resource
        key = resource.key.name
        self._links = statement.links(resource)
        self._tables = {resource.table, *(link.join for link in self._links.values())}
        self._guarded = [c for c in resource.columns if c.writable_by]
        self._frozen = frozenset([key, *(c.name for c in resource.columns if c.immutable)])
        self._kept = self._frozen.union(self._links)
        # A declared key is a field of the data; any other is made here.
        self._makes_key = key in self.served
        # PERF: a change of the same fields is the same text each time, so it is made once, and
        # PostgreSQL can keep its plan.
        self._sql = lru_cache(400)(lambda make, *what: make(self.resource, *what))

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: call check.error(field, code, message).

        check.values has the values so far, check.operation what is done ("create", "update" of what
        is given, "replace"), check.id the row's key, None for a new one.
        """

    def refused(self) -> frozenset[str]:
        """The names of the columns that the current identity may not write."""
        who = current_identity()
        return frozenset(c.name for c in self._guarded if not who.has_one_of(c.writable_by))

    def once(
        self,
        key: str,
        request_hash: str,
        run: Run,
        *,
        operation: str = "create",
        path: str = "",
        client: str = "",
        repeatable: bool = False,
    ) -> tuple[int, Headers, bytes, bool]:
        """Run `run` the first time that the current identity sends an Idempotency-Key.

        Its response is kept for a day, in the transaction of what it does, and returned again to
        repetitions. When it raises, nothing is kept.

        request_hash: another one with the same key raises Invalid F623.
        run: gets the connection; returns status, headers and body (UTF-8).
        operation, path: the key is another one for another operation and another row.
        client: tells anonymous users apart.
        repeatable: `run` is called again when it met another write; else raises Unavailable F406.

        Returns what `run` returned, and whether this is a repetition. Raises Conflict F622 while
        the same key is in progress elsewhere.
        """
        identity = self.allow(operation)
        who = (identity.user,) if identity.user else ("", client)
        scope = (*who, str(self.tenant() or ""), self.resource.topic, operation)
        sees = " ".join([request_hash, *sorted(self.hidden()), str(self._may_read())])
        params = {"scope": json.dumps((*scope, path) if path else scope), "key": key, "hash": sees}
        if not repeatable:
            return _once(self.connection(), params, run)
        return self._tried(None, lambda own: _once(own, params, run))

    # -- in bulk ----------------------------------------------------------------------------------

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

    # -- values ------------------------------------------------------------------------------------

    def _check(self, data: Item, operation: Operation, id: Any = None) -> Check:
        """The data, checked by every rule; errors are noted, not raised."""
        refused = self.refused()
        locked = () if operation == "create" else self._kept.union(refused, self.hidden())
        most = self.limits.json
        check = Check(data, operation=operation, id=id, locked=locked, max_json=most)
        self.resource.check(check)
        for name in refused:
            if name in data:
                check.error(name, "not_writable", text("may not be written by this identity"))
        self.validate(check)
        return check

    def _new(self, data: Item, id: Any = None) -> Params:
        """The values of a new row, its key among them. Raises Invalid."""
        key = self.resource.key.name
        if id is not None and not self._makes_key:
            data = {**data, key: id}
        check = self._check(data, "create")
        if self._makes_key:
            try:
                check.values[key] = uuid7() if id is None else TYPES["uuid"].read(id)
            except ValueError as err:
                check.error(key, "type", str(err))
        spelled = check.values.get(key)
        if isinstance(spelled, str) and (
            len(spelled) > MAX_KEY or spelled in ("", ".", "..") or "/" in spelled
        ):
            fit = text(
                "must fit an address: 1 to {max} characters, no / and not only dots", max=MAX_KEY
            )
            check.error(key, "pattern", fit)
        return check.result()

    def _linked(self, rows: Sequence[Params]) -> tuple[tuple[str, ...], Params]:
        """Take the many_to_many fields out of new rows: those that are given, and their
        parameters.
        """
        key = self.resource.key.name
        fields: list[str] = []
        params: Params = {}
        for field in self._links:
            pairs = [(row[key], target) for row in rows for target in row.pop(field, None) or ()]
            if pairs:
                n = len(fields)
                params[f"forge_owners_{n}"], params[f"forge_ids_{n}"] = map(list, zip(*pairs))
                fields.append(field)
        return tuple(fields), params

    def _needs_version(self, version: int | None) -> None:
        if version is None and self.resource.versioned:
            raise PreconditionRequired(text("a change must name the version it is based on"))

    # -- statements --------------------------------------------------------------------------------

    def _write(
        self, conn: Conn, sql: str, params: Params, written: Callable[[Rows], Mapping[str, int]]
    ) -> Rows:
        """The statement's rows; after the commit, readers of events and jobs are woken.

        written: operation → how many rows it wrote, of each operation that the statement may do. A
        constraint of this table or of its join tables becomes an error of its field.
        """
        operations = written([])
        hooked = any(statement.hooks(self.resource, name) for name in operations)
        with jobs.insert_span(self.resource.name) if hooked else nullcontext():
            cause = {
                "forge_metadata": hooked and json.dumps(jobs.job_cause()),
                "forge_actor": current_identity().user,
                "forge_request": str(log_fields.get().get("request_id", "")),
            }
            try:
                rows = self._run(conn, sql, params | cause, write=True)
            except (Conflict, ConstraintViolation) as err:
                if getattr(err, "kind", "") == "size":
                    raise self._too_long(params) from err.__cause__
                raise self._named(err, deleting="delete" in operations) from err.__cause__
        own = conn or self._database.connection()
        db.nudge(own, "e")
        if hooked:
            self._tell(own, written(rows))
        return rows

    def _tell(self, conn: db.Connection, written: Mapping[str, int]) -> None:
        """Of the jobs that went with the rows. A unique one may have been there, so it counts 0."""
        for operation, number in written.items():
            for hook in statement.hooks(self.resource, operation) if number else ():
                count = {(hook.kind, hook.queue): 0 if hook.unique else number}
                jobs.notify_workers(conn, count, quiet=hook.delay > 0)

    def _changed(
        self, conn: Conn, sql: str, params: Params, operation: str
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """The frozen columns that differ, and the columns as they are now. Raises NotFound,
        StaleVersion.
        """
        for _ in range(AGAIN):
            rows = self._write(conn, sql, params, lambda rows: {operation: _is_written(rows)})
            if not rows:
                raise self._not_found(params["forge_key"])
            again, stale, differing, *found = rows[0]
            if again:
                continue
            if stale:
                raise StaleVersion(text("this has changed since it was read"))
            return differing, found
        raise self._crowded()

    def _crowded(self) -> Unavailable:
        return Unavailable(text("others keep changing the same rows"), code="F406")

    def _named(self, err: Conflict | ConstraintViolation, *, deleting: bool) -> DomainError:
        """The error that names the field, where the rule is one of this resource's tables."""
        kind = "unique" if isinstance(err, Conflict) else err.kind
        conflict = partial(Conflict, constraint=err.constraint, table=err.table)
        if deleting and kind == "foreign_key":
            return conflict(text("other rows still refer to this one"))
        field = self.resource.constraints.get(err.constraint) or getattr(err, "column", "")
        # Of a hidden value nobody learns that another row has it; who gave a wrong one may know.
        told = (kind != "unique" or field not in self.hidden()) and err.table in self._tables
        pointer = "/" + field if field and told else ""
        if not pointer:
            return err
        code, message = _VIOLATIONS[kind]
        errors = [FieldError(pointer, code, text(message))]
        if kind == "unique":
            return conflict(text("{field} is already taken", field=field), errors=errors)
        return Invalid(errors, text("some values are not valid"))

    def _too_long(self, params: Params) -> Invalid:
        """Names the values that may be too long for an index: PostgreSQL does not say which one."""
        sizes: dict[str, int] = {}
        for column in (c for c in self.resource.columns if c.type != "json"):
            given = params.get(column.name)
            sizes[column.name] = max(
                map(len, map(str, given if isinstance(given, list) else [given]))
            )
        indexed = {c.name for c in self.resource.columns if c.unique or c.filterable or c.sortable}
        found = [name for name, size in sizes.items() if size > INDEXED and name in indexed]
        found = found or [max(sizes, key=lambda name: sizes[name])]
        message = text("is too long for an index")
        errors = [FieldError("/" + name, "too_long", message) for name in found]
        return Invalid(errors, text("some values are not valid"))


def _is_written(rows: Rows) -> bool:
    """Of a `change`: whether something differed."""
    return bool(rows) and rows[0][0] is None


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


def _once(conn: db.Connection, params: Params, run: Run) -> tuple[int, Headers, bytes, bool]:
    with db.transaction(conn):
        ((free,),) = db.run(conn, _IDEMPOTENCY["lock"], params)
        if not free:
            raise Conflict(text("a request with this Idempotency-Key is in progress"), code="F622")
        for stored_hash, status, headers, body in db.run(conn, _IDEMPOTENCY["find"], params):
            if stored_hash != params["hash"]:
                message = text("this Idempotency-Key was used with another request")
                raise Invalid([], message, code="F623")
            return status, [(name, value) for name, value in headers], body.encode(), True
        status, headers, content = run(conn)
        answer = {"status": status, "headers": Jsonb(headers), "body": content.decode()}
        db.run(conn, _IDEMPOTENCY["keep"], params | answer)
        return status, headers, content, False
