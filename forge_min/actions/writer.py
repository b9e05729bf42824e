"""The common part of all writes, and bulk writes.

Values are checked, the statement is sent, consumers of events and jobs are notified, and a violated
constraint becomes the error of a field.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

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
from ..i18n import gettext_noop, text
from ..observe import log_fields
from . import statement
from .base import Conn, Rows
from .check import Check, Operation, invalid, rules_of
from .idempotency import IdempotentActions
from .resource import Column, R, Rule
from .rule import Changes, Pending, apply_rules, is_written
from .values import TYPES, uuid7

Item = Mapping[str, object]  # field → value, from the caller
Params = dict[str, Any]
Numbered = list[tuple[int, Item]]  # each with its index in the whole input
Row = tuple[int, Params]  # its index in the whole input, and its values
Group = tuple[tuple[str, ...], list[Row]]  # fields, and rows with these fields
# Writes some of the rows of a bulk write, and returns the numbers of rows by their result.
BulkWrite = Callable[[db.Connection, Pending], Counter[str]]
BATCH = 1000  # rows of one statement
# Kind of a constraint → the code and message for a value that violates it.
_VIOLATIONS = {
    "unique": ("taken", gettext_noop("is already taken")),
    "foreign_key": ("no_such_row", gettext_noop("refers to an entry that does not exist")),
    "not_null": ("required", gettext_noop("is required")),
    "exclusion": ("taken", gettext_noop("overlaps another entry")),
    "check": ("out_of_range", gettext_noop("is not allowed by a rule of the database")),
}
ANY_VERSION = 0  # matches every version; the versions of a row begin at 1
INDEXED = 2000  # characters that every index can hold
MAX_KEY = 500  # characters of a key that is part of a URL
AGAIN = 10  # times that a statement is sent again because of concurrent writes


class Upserted(NamedTuple):
    """The numbers of new, changed and unchanged rows."""

    inserted: int
    updated: int
    unchanged: int


class WrittenRow(NamedTuple):
    """The result of a change of one row.

    is_written: false if nothing differed, or something prevented the change.
    differing: the names of frozen columns that differ.
    values: of the columns.
    """

    is_written: bool
    differing: Sequence[str]
    values: Sequence[Any]


class WriteActions(IdempotentActions[R]):
    """The common part of all writes of a resource, and bulk writes.

    `create_many` and `upsert_many` are all or nothing: one transaction. The pointers of their
    Invalid begin with the index of the item: "/17/name". An item may have its own "id".
    """

    def __init__(self, database: db.Database) -> None:
        super().__init__(database)
        resource = self.resource
        self._links = statement.links(resource)
        self._tables = {resource.table, *(link.join for link in self._links.values())}
        self._guarded = [c for c in resource.columns if c.writable_by]
        immutable = [c.name for c in resource.columns if c.immutable]
        self._frozen = frozenset([resource.key.name, *immutable])
        self._kept = self._frozen.union(self._links)
        # The initial state of each column with states; a state has its value as the default.
        rules = rules_of(resource.check)
        states = {transition.column for transition in resource.transitions}
        self._initial = {name: rules[name][1]["default"] for name in states}
        self._hints = {c.name: (c.help, c.placeholder) for c in resource.columns}
        # A declared key is a field of the data; any other is created here.
        self._creates_key = resource.key.name in self.served
        # PERF: changes of the same fields share one text, so it is composed once, and PostgreSQL
        # can reuse its plan.
        self._sql = lru_cache(400)(lambda make, *args: make(self.resource, *args))

    def validate(self, check: Check) -> None:
        """Check rules beyond those of the schema: call check.error(field, code, message).

        check.values: the values so far.
        check.operation: "create", "update" of some fields, or "replace".
        check.id: the key of the row, None for a new one.
        """

    def refused(self) -> frozenset[str]:
        """Return the names of the columns that the current identity may not write."""
        identity = current_identity()
        return frozenset(c.name for c in self._guarded if not identity.has_one_of(c.writable_by))

    # -- in bulk ----------------------------------------------------------------------------------

    def create_many(self, items: Iterable[Item], *, conn: Conn = None) -> int:
        """Insert `BATCH` rows per statement. Returns the number of rows.

        Raises Conflict for a unique value that is taken.
        """
        self.allow("create")
        return self._in_bulk(items, map(self._create_batch, _batches(items)), conn)["created"]

    def _create_batch(self, batch: Numbered) -> BulkWrite:
        rows = self._checked(batch)
        fields, pairs = self._take_keys(rows)
        params = _arrays(rows) | pairs
        keys = params[self.resource.key.name]
        indexes = {key: index for key, (index, _) in zip(keys, batch)}
        changes = partial(self._creates, indexes)
        sql = self._sql(statement.create, fields, True)

        def write(conn: db.Connection, pending: Pending) -> Counter[str]:
            rows = self._write(conn, sql, params, self._created, changes, pending)
            return Counter(created=self._created(rows)["create"])

        return write

    def _in_bulk(
        self, items: Iterable[Item], writes: Iterable[BulkWrite], conn: Conn
    ) -> Counter[str]:
        """Execute the writes of the items in one transaction. Returns their total."""
        if isinstance(items, Sequence):
            writes = list(writes)  # validated once, also if the transaction is repeated
        else:
            conn = conn or self.connection()  # an iterator cannot be read again for a retry

        def execute(connection: db.Connection) -> Counter[str]:
            count: Counter[str] = Counter()
            pending = Pending()
            with db.transaction(connection):
                for write in writes:
                    count += write(connection, pending)
                apply_rules(pending, connection, self)
            return count

        return self._retry(conn, execute)

    def upsert_many(self, items: Iterable[Item], *, key: str, conn: Conn = None) -> Upserted:
        """Insert the items, or update the rows that already have the same value of `key`.

        key: the primary key or a unique column.

        An item is checked as for a create; an update writes the fields of the item if any differs.
        Raises BadRequest for another key, Invalid also for a different value of an immutable field.
        """
        self.allow("create")
        self.allow("update")
        unique = {c.name: c for c in self.resource.columns if c.unique or c is self.resource.key}
        if key not in unique:
            raise BadRequest(f"{key} is not unique; unique are: {', '.join(unique)}")
        count = self._in_bulk(items, self._upsert_writes(items, unique[key]), conn)
        return Upserted(count["created"], count["updated"], count["unchanged"])

    def _checked(self, batch: Numbered, on: Column | None = None) -> list[Params]:
        """The values of each item. Raises Invalid with the errors of all."""
        rows = []
        wrong = []
        for index, item in batch:
            errors = []
            id = None
            data = dict(item)
            if on is not None:
                errors += self._not_upsertable(item, on)
            if self._creates_key:
                id = data.pop("id", None)
            try:
                rows.append(self._new(data, id, may_exist=on is not None))
            except Invalid as err:
                errors += err.errors
            by_pointer = {error.pointer: error for error in errors}
            for pointer, error in by_pointer.items():
                wrong.append(error._replace(pointer=f"/{index}{pointer}"))
        if wrong:
            raise invalid(wrong)
        return rows

    def _not_upsertable(self, item: Item, on: Column) -> list[FieldError]:
        errors = [
            FieldError(f"/{field}", "unknown", text("cannot be set here"))
            for field in self._links
            if field in item
        ]
        if item.get(on.name) is None:
            errors.append(FieldError(f"/{on.name}", "required", text("is required")))
        return errors

    def _upsert_writes(self, items: Iterable[Item], on: Column) -> Iterator[BulkWrite]:
        for batch in _batches(items):
            for group in self._groups(batch, on):
                yield partial(self._upsert, group, on)

    def _groups(self, batch: Numbered, on: Column) -> Iterator[Group]:
        """Groups of items for one statement: with the same columns, and each key only once."""
        groups = defaultdict(list)
        times: Counter[Any] = Counter()
        for (index, item), values in zip(batch, self._checked(batch, on)):
            for field in self._links:
                values.pop(field, None)
            fields = tuple(c.name for c in self.resource.columns if c.name in item)
            key = values[on.name]
            groups[times[key], fields].append((index, values))
            times[key] += 1
        for time, fields in sorted(groups, key=itemgetter(0)):
            yield fields, groups[time, fields]

    def _upsert(
        self, group: Group, on: Column, conn: db.Connection, pending: Pending
    ) -> Counter[str]:
        fields, rows = group
        others = [name for name in fields if name != on.name]
        changed = tuple(name for name in others if name not in self._frozen)
        # The error must not reveal whether a hidden value equals the new one.
        visible = self._frozen - self.hidden()
        frozen = tuple(name for name in others if name in visible)
        _, first_row = rows[0]
        sql = self._sql(statement.upsert, tuple(first_row), changed, frozen, on)
        count: Counter[str] = Counter()
        for attempt in range(AGAIN):
            params = _arrays([values for _, values in rows])
            changes = partial(self._upserts, [index for index, _ in rows])
            try:
                with db.transaction(conn):
                    results = self._write(conn, sql, params, _upserted, changes, pending)
            except Conflict:
                # If a value is unique in two ways (a key, and with its tenant), a concurrent insert
                # may violate the other constraint. It is committed by now.
                if attempt:
                    raise
                continue
            errors = self._upsert_errors(rows, results)
            if errors:
                raise invalid(errors)
            count.update(state for state, *_ in results)
            rows = [row for row, (state, *_) in zip(rows, results) if state == "missed"]
            if not rows:
                return count
        raise self._contention()

    def _upsert_errors(self, rows: Sequence[Row], results: Rows) -> list[FieldError]:
        """The errors of the rows that an upsert must not write, by its results."""
        prevented = []
        uninitial = []
        for (index, values), (state, names, *_) in zip(rows, results, strict=True):
            for name in names:
                if state == "immutable":
                    error = self._unchangeable(name, f"/{index}")
                else:
                    deleted = text("belongs to a deleted entry")
                    error = FieldError(f"/{index}/{name}", state, deleted)
                prevented.append(error)
            if state != "created":
                continue
            for name, initial in self._initial.items():
                if values[name] != initial:
                    message = _begins_as(initial)
                    uninitial.append(FieldError(f"/{index}/{name}", "not_a_choice", message))
        return prevented + uninitial

    # -- values ------------------------------------------------------------------------------------

    def _check(self, data: Item, operation: Operation, id: Any = None) -> Check:
        """Check the data by all rules. Errors are recorded, not raised."""
        refused = self.refused()
        locked: Collection[str] = ()
        if operation != "create":
            locked = self._kept.union(refused, self.hidden())
        check = Check(
            data,
            operation=operation,
            id=id,
            locked=locked,
            max_json=self.limits.json,
            hints=self._hints,
        )
        self.resource.check(check)
        for name in refused:
            if name in data:
                check.error(name, "not_writable", text("cannot be set with your permissions"))
        self.validate(check)
        return check

    def check_fields(self, data: Item, fields: Collection[str]) -> Params:
        """Return the values of some fields of a new row, by the rules of the schema.

        Raises Invalid with every wrong field of `fields`.
        """
        check = self._check(data, "create")
        errors = [err for err in check.errors if err.pointer.split("/")[1] in fields]
        if errors:
            raise invalid(errors)
        return {name: value for name, value in check.values.items() if name in fields}

    def _new(self, data: Item, id: Any = None, *, may_exist: bool = False) -> Params:
        """The values of a new row, with its key. Raises Invalid.

        may_exist: it may be an update of a row, which may be in another state than the initial one.
        """
        key = self.resource.key.name
        if id is not None and not self._creates_key:
            data = {**data, key: id}
        check = self._check(data, "create")
        if self._creates_key:
            try:
                check.values[key] = uuid7() if id is None else TYPES["uuid"].read(id)
            except ValueError as err:
                check.error(key, "type", str(err))
        value = check.values.get(key)
        # A key is a part of a URL.
        if isinstance(value, str) and (
            not 1 <= len(value) <= MAX_KEY or "/" in value or value in (".", "..")
        ):
            message = text("must have 1 to {max} characters, no / and not only dots", max=MAX_KEY)
            check.error(key, "pattern", message)
        if not may_exist:
            for name, initial in self._initial.items():
                if check.values.get(name, initial) != initial:
                    check.error(name, "not_a_choice", _begins_as(initial))
        return check.result()

    def _take_keys(self, rows: Sequence[Params]) -> tuple[tuple[str, ...], Params]:
        """Remove the many_to_many fields from new rows. Returns those with keys, and parameters."""
        key = self.resource.key.name
        fields: list[str] = []
        params = {}
        for field in self._links:
            owners = []
            ids: list[Any] = []
            for row in rows:
                targets = row.pop(field, None) or ()
                owners += [row[key]] * len(targets)
                ids += targets
            if ids:
                params[f"forge_owners_{len(fields)}"] = owners
                params[f"forge_ids_{len(fields)}"] = ids
                fields.append(field)
        return tuple(fields), params

    def _needs_version(self, version: int | None) -> None:
        if version is None and self.resource.versioned:
            raise PreconditionRequired(text("a change must name the version it is based on"))

    # -- statements --------------------------------------------------------------------------------

    def _write(
        self,
        conn: Conn,
        sql: str,
        params: Params,
        written: Callable[[Rows], Mapping[str, int]],
        changes: Changes[R],
        pending: Pending | None = None,
    ) -> Rows:
        """Execute a statement, and notify consumers of events and jobs. Returns its rows.

        written: returns operation → number of rows written, for each operation that the statement
            may perform.
        changes: returns the rows written, for the rule.
        pending: add them here, and let the caller apply the rule; None applies it at once.

        A violated constraint of this table or of its join tables becomes an error of its field.
        """
        operations = written([])
        hooked = any(self.resource.hooks_of(name) for name in operations)
        with jobs.insert_span(self.resource.name) if hooked else nullcontext():
            cause = {
                "forge_metadata": hooked and json.dumps(jobs.job_cause()),
                "forge_actor": current_identity().user,
                "forge_request": str(log_fields.get().get("request_id", "")),
            }
            try:
                rows = self._send(conn, sql, params | cause, changes, pending)
            except (Conflict, ConstraintViolation) as err:
                raise self._error_of(err, params, "delete" in operations) from err.__cause__
        connection = conn or self._database.connection()
        db.nudge(connection, "e")
        if hooked:
            self._notify_jobs(connection, written(rows))
        return rows

    def _notify_jobs(self, conn: db.Connection, written: Mapping[str, int]) -> None:
        """Announce the jobs of the rows. A unique one may have existed, so it counts 0."""
        for operation, number in written.items():
            if not number:
                continue
            for hook in self.resource.hooks_of(operation):
                count = 0 if hook.unique else number
                jobs.notify_workers(conn, {(hook.kind, hook.queue): count}, quiet=hook.delay > 0)

    def _write_row(
        self,
        conn: Conn,
        sql: str,
        params: Params,
        operation: str,
        pending: Pending | None = None,
    ) -> WrittenRow:
        """Execute a change of one row. pending: as of `_write`. Raises NotFound, StaleVersion."""
        changes = partial(self._changes_of_row, operation)

        def count(rows: Rows) -> dict[str, int]:
            return {operation: is_written(rows)}

        for _ in range(AGAIN):
            rows = self._write(conn, sql, params, count, changes, pending)
            if not rows:
                raise self._not_found(params["forge_key"])
            again, stale, differing, *values = rows[0]
            if again:
                continue
            if stale:
                raise self._stale()
            columns = values[: len(self.resource.columns)]
            return WrittenRow(again is None, differing, columns)
        raise self._contention()

    def _created(self, rows: Rows) -> dict[str, int]:
        """The number of rows of a create of many."""
        if self.resource.has_rule:
            return {"create": len(rows)}
        return {"create": sum(count for (count,) in rows)}

    def _unchangeable(self, name: str, item: str = "") -> FieldError:
        """The error of a column that is immutable, or locked in the state of its row."""
        if name in self._frozen:
            return FieldError(f"{item}/{name}", "immutable", text("cannot be changed"))
        message = text("cannot be changed in the present state")
        return FieldError(f"{item}/{name}", "locked", message)

    def _stale(self) -> StaleVersion:
        return StaleVersion(text("this was changed after you read it; read it again"))

    def _contention(self) -> Unavailable:
        return Unavailable(text("other requests keep changing these rows; try again"), code="F406")

    def _error_of(
        self, err: Conflict | ConstraintViolation, params: Params, deleting: bool
    ) -> DomainError:
        """The error of the field with the violated constraint, `err` if it is another table's."""
        kind = getattr(err, "kind", "unique")
        if kind == "size":
            return self._too_long(params)
        conflict = partial(Conflict, constraint=err.constraint, table=err.table)
        if deleting and kind == "foreign_key":
            return conflict(text("other rows still refer to this one"))
        field = self.resource.constraints.get(err.constraint) or getattr(err, "column", "")
        rule = self.resource.rules.get(err.constraint) or Rule((field or "",))
        # The error must not reveal that another row has the same hidden value.
        hidden = self.hidden()
        reveals = kind == "unique" and not hidden.isdisjoint(rule.fields)
        if not all(rule.fields) or reveals or err.table not in self._tables:
            return err
        code, message = _VIOLATIONS[kind]
        message = text(rule.message or message)
        # If all fields are hidden they are named: the client has sent one of them.
        names = [name for name in rule.fields if name not in hidden] or rule.fields
        errors = [FieldError(f"/{name}", rule.code or code, message) for name in names]
        if kind == "unique":
            taken = text("{field} is already taken", field=", ".join(rule.fields))
            return conflict(taken, errors=errors)
        return invalid(errors)

    def _too_long(self, params: Params) -> Invalid:
        """The error for values that may be too long for an index; PostgreSQL does not name them."""
        sizes = {}
        too_long = []
        for column in self.resource.columns:
            if column.type == "json":
                continue
            value = params.get(column.name)
            if not isinstance(value, list):
                value = [value]
            size = max((len(str(item)) for item in value), default=0)
            sizes[column.name] = size
            is_indexed = column.unique or column.filterable or column.sortable
            if is_indexed and size > INDEXED:
                too_long.append(column.name)
        names = too_long or [max(sizes, key=lambda name: sizes[name])]
        return invalid([FieldError(f"/{name}", "too_long", text("is too long")) for name in names])


def _begins_as(state: str) -> str:
    return text("a new entry is {state}", state=state)


def _upserted(rows: Rows) -> dict[str, int]:
    count = Counter(state for state, *_ in rows)
    return {"create": count["created"], "update": count["updated"]}


def _arrays(rows: Sequence[Params]) -> Params:
    return {name: [_packed(row[name]) for row in rows] for name in rows[0]}


def _packed(value: Any) -> Any:
    """A value of one of several rows. A list is its text: `unnest` takes nested arrays apart."""
    return db.sql_array(map(str, value)) if isinstance(value, list) else value


def _batches(items: Iterable[Item]) -> Iterator[Numbered]:
    numbered = enumerate(items)
    while batch := list(islice(numbered, BATCH)):
        yield batch
