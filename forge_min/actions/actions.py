"""The actions of a resource: list, get, create, update, delete, and create in bulk.

One copy for every resource; gen/ subclasses it with data, the user subclasses that with rules. Each
write is one statement (see statement.py). `conn=None` means this thread's own connection; with a
connection of the caller's, the write is part of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from .. import db, jobs
from ..errors import (
    Conflict,
    ConstraintViolation,
    FieldError,
    Invalid,
    NotFound,
    StaleVersion,
)
from ..observe.tracing import current_traceparent
from .check import Check
from .reading import cursor
from .reading.query import ListQuery
from .resource import JobHook, Page, Resource
from .writing import statement
from .writing.uuid7 import uuid7

R = TypeVar("R")
Rows = list[tuple[Any, ...]]  # named here: inside the class, `list` is the action
Params = dict[str, Any]
Items = list[dict[str, Any]]
Errors = list[FieldError]
BATCH = 1000


class Actions(Generic[R]):
    """What can be done with one resource.

    Subclasses set `resource` and may override `validate`, `before_create`, `before_update`.
    Every method may raise errors.Unavailable (database away) and errors.DatabaseError.
    """

    resource: ClassVar[Resource[Any]]

    def __init__(self, database: db.Database) -> None:
        self._database = database
        self._create_sql = statement.create(self.resource)
        # PERF: a PATCH of the same fields is the same text each time, so PostgreSQL can keep its
        # plan.
        self._update_sql = lru_cache(maxsize=256)(
            lambda changed, versioned: statement.update(self.resource, changed, versioned)
        )

    # -- reading -----------------------------------------------------------------------------------

    def get(self, id: UUID, *, conn: db.Connection | None = None) -> R:
        """The row. Raises NotFound."""
        rows = self._run(conn, self.resource.select + '\nwhere "id" = %(id)s', {"id": id})
        if not rows:
            raise self._not_found(id)
        return self._row(rows[0])

    def list(self, query: ListQuery | None = None, *, conn: db.Connection | None = None) -> Page[R]:
        """One page, by cursor or with a total; one round trip."""
        query = query or ListQuery()
        sql, params = query.statement(self.resource)
        found = self._run(conn, sql, params)
        more = len(found) > query.limit
        found = found[: query.limit]
        if query.backwards:
            found.reverse()
        if query.page is not None:
            return self._numbered(query, found, conn)
        rows = [self._row(values) for values in found]
        if not rows:
            return Page([])
        keys = query.keys(self.resource)
        has_next = more or query.backwards
        has_prev = query.after is not None if not query.backwards else more
        return Page(
            rows,
            cursor.write(keys, rows[-1], False) if has_next else None,
            cursor.write(keys, rows[0], True) if has_prev else None,
        )

    # -- writing -----------------------------------------------------------------------------------

    def create(
        self,
        data: Mapping[str, object],
        *,
        id: UUID | None = None,
        conn: db.Connection | None = None,
    ) -> R:
        """Validate and insert; the row's event and jobs are in the same statement.

        Raises Invalid with every wrong field, Conflict for a unique value that is taken.
        """
        values = self._checked(data, partial=False)
        values["id"] = id or uuid7()
        params = self._effects("created", "create", self.resource.after_create)
        rows = self._write(conn, self._create_sql, values | params, self.resource.after_create)
        return self._row(rows[0])

    def update(
        self,
        id: UUID,
        data: Mapping[str, object],
        *,
        version: int | None = None,
        conn: db.Connection | None = None,
    ) -> R:
        """Change the given fields. version: the one the caller has read, or None for whatever is
        there.

        A change that changes nothing writes nothing. Raises NotFound, StaleVersion, Invalid,
        Conflict.
        """
        return self._change(id, self._checked(data, partial=True), version, conn)

    def replace(
        self,
        id: UUID,
        data: Mapping[str, object],
        *,
        version: int | None = None,
        conn: db.Connection | None = None,
    ) -> R:
        """As `update`, but a field that is absent gets its default or NULL."""
        return self._change(id, self._checked(data, partial=False), version, conn)

    def _change(
        self, id: UUID, values: Params, version: int | None, conn: db.Connection | None
    ) -> R:
        if not values:
            return self._unchanged(id, version, conn)
        sql = self._update_sql(tuple(values), version is not None)
        params = self._effects("updated", "update", self.resource.after_update)
        params |= {"id": id, "forge_version": version}
        rows = self._write(conn, sql, values | params, self.resource.after_update)
        if not rows:
            raise self._not_found(id)
        written, *found = rows[0]
        row = self._row(found)
        if not written:
            self._same_version(row, version)
        return row

    def delete(
        self, id: UUID, *, version: int | None = None, conn: db.Connection | None = None
    ) -> None:
        """Delete the row. Raises NotFound, StaleVersion, Conflict where other rows still refer to
        it.
        """
        sql = statement.delete(self.resource, version is not None)
        params = self._effects("deleted", "delete", self.resource.after_delete)
        params |= {"id": id, "forge_version": version}
        try:
            ((deleted, found),) = self._write(conn, sql, params, self.resource.after_delete)
        except Invalid as err:  # a foreign key that leads back to this table
            raise self._referred() from err
        if deleted:
            return
        # `found` is of the statement's snapshot: where no version was asked for, a row that was
        # not deleted was gone by the time its lock was had.
        raise self._stale() if found is not None and version is not None else self._not_found(id)

    def create_many(
        self, items: Iterable[Mapping[str, object]], *, conn: db.Connection | None = None
    ) -> int:
        """Insert in bulk, `BATCH` rows per statement, each statement with its events and jobs.

        An item may carry its own "id". All or nothing: one transaction. Returns the number of rows.
        Raises Invalid whose pointers start with the item's place, from 0: "/17/name".
        """
        own = conn or self._database.connection()
        count = 0
        with db.transaction(own):
            for first, batch in _batches(items):
                count += self._create_batch(own, first, batch)
        return count

    def connection(self) -> db.Connection:
        """This thread's own connection, for a `db.transaction` around several actions."""
        return self._database.connection()

    # -- for the user to override ------------------------------------------------------------------

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: call check.error(field, code, message). `check.values` has the
        values.
        """

    # -- inside ------------------------------------------------------------------------------------

    def _create_batch(
        self, conn: db.Connection, first: int, batch: Sequence[Mapping[str, object]]
    ) -> int:
        rows: Items = []
        wrong: Errors = []
        for n, item in enumerate(batch, first):
            try:
                rows.append(self._with_id(dict(item)))
            except Invalid as err:
                wrong += [FieldError(f"/{n}{e.pointer}", e.code, e.message) for e in err.errors]
        if wrong:
            raise Invalid(wrong)
        params: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        params |= self._effects("created", "create", self.resource.after_create)
        sql = statement.create_many(self.resource)
        ((count,),) = self._write(conn, sql, params, self.resource.after_create)
        return int(count)

    def _with_id(self, item: dict[str, object]) -> dict[str, Any]:
        given = item.pop("id", None)
        values = self._checked(item, partial=False)
        check = Check({} if given is None else {"id": given})
        check.uuid("id")
        values["id"] = check.result()["id"] or uuid7()
        return values

    def _checked(self, data: Mapping[str, object], *, partial: bool) -> dict[str, Any]:
        check = Check(data, partial=partial)
        self.resource.check(check)
        self.validate(check)
        return check.result()

    def _effects(self, kind: str, operation: str, hooks: Sequence[JobHook]) -> dict[str, Any]:
        params: dict[str, Any] = {
            "forge_topic": self.resource.topic,
            "forge_kind": f"{self.resource.event}.{kind}",
        }
        if hooks:
            traceparent = current_traceparent()
            for n, hook in enumerate(hooks):
                params |= jobs.job_params(
                    f"forge_job_{n}_",
                    hook,
                    resource=self.resource.name,
                    operation=operation,
                    traceparent=traceparent,
                )
        return params

    def _run(self, conn: db.Connection | None, sql: str, params: Mapping[str, Any]) -> Rows:
        own = conn or self._database.connection()
        with db.errors_translated():
            return own.execute(sql, params).fetchall()

    def _write(
        self,
        conn: db.Connection | None,
        sql: str,
        params: Mapping[str, Any],
        hooks: Sequence[JobHook],
    ) -> Rows:
        own = conn or self._database.connection()
        with self._fields_named():
            rows = self._run(own, sql, params)
        db.nudge(own, "e")
        for queue in {hook.queue for hook in hooks}:
            db.nudge(own, "j:" + queue)
        return rows

    @contextmanager
    def _fields_named(self) -> Iterator[None]:
        """A constraint of this table becomes an error of its field."""
        try:
            yield
        except Conflict as err:
            field = self.resource.constraints.get(err.constraint)
            if field is None:
                raise
            taken = FieldError("/" + field, "taken", "is already taken")
            raise Conflict(
                f"{field} is already taken", constraint=err.constraint, errors=[taken]
            ) from err
        except ConstraintViolation as err:
            self._violated(err)

    def _violated(self, err: ConstraintViolation) -> None:
        field = err.column or self.resource.constraints.get(err.constraint)
        if field is not None and (err.column == "" or self.resource.column(field)):
            code, message = _VIOLATIONS[err.kind]
            raise Invalid([FieldError("/" + field, code, message)]) from err
        if err.kind == "foreign_key":
            raise self._referred(err.constraint) from err
        raise err

    def _numbered(self, query: ListQuery, found: Rows, conn: db.Connection | None) -> Page[R]:
        if found:
            return Page([self._row(v[:-1]) for v in found], total=found[0][-1])
        if query.page == 1:
            return Page([], total=0)
        first = self.list(ListQuery(query.filters, query.sorts, 1, page=1), conn=conn)
        return Page([], total=first.total)

    def _unchanged(self, id: UUID, version: int | None, conn: db.Connection | None) -> R:
        row = self.get(id, conn=conn)
        self._same_version(row, version)
        return row

    def _row(self, values: Sequence[Any]) -> R:
        row: R = self.resource.row(*values)
        return row

    def _same_version(self, row: Any, version: int | None) -> None:
        if version is not None and row.version != version:
            raise self._stale()

    def _not_found(self, id: UUID) -> NotFound:
        return NotFound(f"there is no {self.resource.event} {id}")

    def _referred(self, constraint: str = "") -> Conflict:
        return Conflict("other rows still refer to this one", constraint=constraint)

    def _stale(self) -> StaleVersion:
        return StaleVersion(f"this {self.resource.event} has changed since it was read")


_VIOLATIONS = {
    "foreign_key": ("no_such_row", "refers to a row that does not exist"),
    "check": ("out_of_range", "breaks a rule of the table"),
    "not_null": ("required", "is required"),
    "exclusion": ("taken", "overlaps another row"),
}


def _batches(
    items: Iterable[Mapping[str, object]],
) -> Iterator[tuple[int, list[Mapping[str, object]]]]:
    batch: list[Mapping[str, object]] = []
    first = 0
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield first, batch
            first += BATCH
            batch = []
    if batch:
        yield first, batch
