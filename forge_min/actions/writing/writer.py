"""What every write goes through: values are checked, the statement is sent, readers are woken, and
a broken rule of the table becomes the error of a field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

from ... import db, jobs
from ...auth import current_identity
from ...errors import (
    Conflict,
    ConstraintViolation,
    DomainError,
    FieldError,
    Invalid,
    PreconditionRequired,
    StaleVersion,
    Unavailable,
)
from ...observe import log_fields
from ...text import later, text
from ..base import Base, Conn, Rows
from ..check import Check, Operation
from ..resource import R
from ..values import TYPES, uuid7
from . import fragments

Item = Mapping[str, object]  # field → value, as the caller gave it
Params = dict[str, Any]
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


class Writer(Base[R]):
    """The writing half of a resource's actions, without the actions.

    served: the columns that no data gives: what the server alone keeps, the key that it makes too.
    """

    def __init__(self, database: db.Database) -> None:
        super().__init__(database)
        resource = self.resource
        key = resource.key.name
        self._links = fragments.links(resource)
        self._tables = {resource.table, *(link.join for link in self._links.values())}
        self._guarded = [c for c in resource.columns if c.writable_by]
        self._frozen = frozenset([key, *(c.name for c in resource.columns if c.immutable)])
        self._kept = self._frozen.union(self._links)
        probe = Check(dict.fromkeys(column.name for column in resource.columns))
        resource.check(probe)
        self.served = frozenset(e.pointer[1:] for e in probe.errors if e.code == "unknown")
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
        hooked = any(fragments.hooks(self.resource, name) for name in operations)
        with jobs.produced(self.resource.name) if hooked else nullcontext():
            cause = {
                "forge_metadata": hooked and json.dumps(jobs.caused_by()),
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
            for hook in fragments.hooks(self.resource, operation) if number else ():
                count = {(hook.kind, hook.queue): 0 if hook.unique else number}
                jobs.told(conn, count, quiet=hook.delay > 0)

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
