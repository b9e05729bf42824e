"""The actions of a resource: list, get, create, update, replace, delete, restore, and in bulk.

All resources share this code; gen/ subclasses it with data, the project subclasses that with rules.
Each write but a cascading delete is one statement (see statement.py). `conn=None` means this
thread's own connection; with a connection of the caller, the write is part of the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from psycopg import Rollback

from .. import db
from ..auth import current_identity, require
from ..errors import Conflict, DomainError, FieldError, Forbidden
from ..i18n import text
from . import statement
from .base import Conn, scope, this_row
from .check import Check, KeyChanges, Operation, invalid
from .reader import ReadActions
from .resource import R, Relation, Transition, quote
from .rule import Pending, apply_rules
from .values import is_visible
from .writer import ANY_VERSION, Item, WriteActions

T = TypeVar("T")
C = TypeVar("C", bound=Mapping[str, Any])
U = TypeVar("U", bound=Mapping[str, Any])
MAX_REASON = 1000  # characters of the reason of a transition
Verb = Callable[[Any], object]  # takes the key of a row
AnyRow = tuple[Any, Any]  # the actions of a resource, the key of a row


class Actions(ReadActions[R], WriteActions[R], Generic[R, C, U]):
    """The operations on one resource: R a row, C the data of a create, U that of an update.

    Subclasses set `resource` and may override `validate` and every action. Each action needs its
    permission and, if the resource is tenant-scoped, a tenant. In returned rows, columns that the
    current identity may not see are None.

    Every method may raise Unauthenticated, Forbidden, errors.Unavailable (no database) and
    errors.DatabaseError. A write on this thread's own connection outside a transaction is repeated
    if it conflicts with a concurrent one.
    """

    def create(self, data: C, *, id: Any = None, conn: Conn = None) -> R:
        """Validate the data and insert a row.

        The row's join rows, event, jobs and audit entry are written by the same statement.

        id: the key, if the caller chooses it.

        Raises Invalid with every wrong field, Conflict for a unique value that is taken.
        """
        self.allow("create")
        values = self._new(data, id)
        fields, pairs = self._take_keys([values])
        sql = self._sql(statement.create, fields)
        params = values | pairs
        changes = partial(self._creates, {})  # a single row has no index
        rows = self._write(conn, sql, params, lambda rows: {"create": len(rows)}, changes)
        return self._row(rows[0])

    def update(self, id: Any, data: U, *, version: int | None = None, conn: Conn = None) -> R:
        """Change the fields in `data`. If nothing differs, nothing is written.

        version: the version that the caller has read. None means any version, but is refused for a
            versioned resource; ANY_VERSION means any version always.

        Raises NotFound, StaleVersion, Invalid, Conflict, and PreconditionRequired for a versioned
        resource without a version.
        """
        return self._change(id, data, "update", version, conn)

    def replace(self, id: Any, data: C, *, version: int | None = None, conn: Conn = None) -> R:
        """Change all fields: an absent field gets its default or NULL.

        Fields that the identity may not see or write, immutable ones, and those of many_to_many
        stay as they are if they are absent. `version` and errors are those of `update`.
        """
        return self._change(id, data, "replace", version, conn)

    def delete(self, id: Any, *, version: int | None = None, conn: Conn = None) -> None:
        """Delete the row; with soft_delete it stays in the table, invisible, until it is restored.

        Rows that refer to it with on_delete "cascade" or "set_null" are deleted or changed as by
        their own actions, with event, jobs and audit, but without their permissions. A cascade
        removes them from the table, soft_delete or not. If this row stays (soft_delete), the rows
        that refer to it stay unchanged.

        Raises NotFound, StaleVersion, Conflict if other rows still refer to it, and
        PreconditionRequired as `update`.
        """
        self.allow("delete")
        self._needs_version(version)
        if self.resource.soft_delete or not self.registry.referencing_relations(self.resource):
            sql = self._sql(statement.delete)
            self._write_row(conn, sql, _key(id, version), "delete")
            return
        self._retry(conn, self._delete_all, id, version)

    def restore(self, id: Any, *, version: int | None = None, conn: Conn = None) -> R:
        """Restore a deleted row; one that is not deleted stays as it is.

        Raises NotFound, StaleVersion, Conflict for a unique value that was taken since.
        """
        self.allow("restore")
        if not self.resource.soft_delete:
            raise self._not_found(id)
        sql = self._sql(statement.restore)
        written = self._write_row(conn, sql, _key(id, version), "restore")
        return self._row(written.values)

    def transition(
        self, id: Any, name: str, *, reason: str = "", version: int | None = None, conn: Conn = None
    ) -> R:
        """Change the state of a row by the transition `name` of the schema.

        reason: kept in the history; at most 1,000 characters.

        Raises NotFound, StaleVersion, Invalid for a missing reason, Conflict F647 if no such
        transition leads from the current state, Forbidden F648 if `not_by` excludes the user.
        """
        self.allow(name)
        change = self.resource.transition(name)
        if change.not_by:
            require()
        if not is_visible(reason):
            reason = ""
        check = Check({"reason": reason or None})
        check.text("reason", required=change.needs_reason, max_len=MAX_REASON)
        check.result()
        params = _key(id, version)
        params["forge_reason"] = reason
        sql = self._sql(statement.transition, name)
        written = self._write_row(conn, sql, params, "update")
        if not written.is_written:
            row = dict(zip(self.resource.by_name, written.values))
            raise _refusal(change, row[change.column])
        return self._row(written.values)

    def perform_each(
        self,
        keys: Sequence[Any],
        operation: str,
        *,
        reason: str = "",
        verb: Verb | None = None,
        versions: Sequence[int] | None = None,
    ) -> dict[Any, DomainError | None]:
        """Perform an operation on each of these rows, in one transaction: on all or on none.

        operation: "delete", "restore", or the name of a transition or a verb.
        reason: of a transition.
        verb: the function of a verb, called with a key.
        versions: those of the rows that the caller has read; None means any. The error of a row
            that has changed since is StaleVersion.

        Returns the error of each row, None for one on which the operation is possible. If one row
        has an error, nothing is changed.
        """
        self.allow(operation)
        outcomes: dict[Any, DomainError | None] = {}
        expected = dict(zip(keys, versions or ()))

        def check(key: Any, conn: db.Connection) -> None:
            version = expected.get(key)
            if version:
                self._lock_version(conn, key, version, live=operation != "restore")

        def perform(key: Any, conn: db.Connection) -> None:
            with db.transaction(conn):  # a savepoint for each row
                if verb is not None:
                    verb(key)
                elif operation == "delete":
                    self.delete(key, version=ANY_VERSION, conn=conn)
                elif operation == "restore":
                    self.restore(key, version=ANY_VERSION, conn=conn)
                else:
                    self.transition(key, operation, reason=reason, conn=conn)

        def work(conn: db.Connection) -> None:
            outcomes.clear()
            with db.transaction(conn):
                # All versions first: a delete or a verb may change others of the rows.
                for step in check, perform:
                    for key in sorted(keys, key=str):  # in one order, so that two cannot deadlock
                        try:
                            if not outcomes.setdefault(key):
                                step(key, conn)
                        except DomainError as err:
                            outcomes[key] = err
                if any(outcomes.values()):
                    raise Rollback

        self._retry(None, work)
        return outcomes

    def run_verb(self, id: Any, version: int | None, verb: Callable[..., T], *args: Any) -> T:
        """Return the result of a verb of the project, `verb(id, *args)`.

        version: the version that the row must have; None or ANY_VERSION means any. With a version,
            the row is locked, and the writes of the verb on this thread's own connection are in the
            same transaction.

        Raises NotFound and StaleVersion before the verb is called, and the errors of the verb.
        """
        if not version:
            return verb(id, *args)
        conn = self.connection()
        with db.transaction(conn):
            self._lock_version(conn, id, version)
            return verb(id, *args)

    def _lock_version(
        self, conn: db.Connection, id: Any, version: int, *, live: bool = True
    ) -> None:
        """Lock a row of this version until the transaction ends. Raises NotFound, StaleVersion.

        live: whether a deleted row is refused as not found.
        """
        table = quote(self.resource.table)
        condition = this_row(self.resource, live=live)
        sql = f'select "version" from {table} where {condition} for no key update'
        rows = self._run(conn, sql, _key(id), write=True)
        if not rows:
            raise self._not_found(id)
        if rows != [(version,)]:
            raise self._stale()

    def possible_transitions(self, row: R) -> list[Transition]:
        """Return the transitions of a row that the current identity may perform now."""
        transitions = self.resource.transitions
        columns = self.resource.by_name
        excluded = []
        if any(transition.not_by for transition in transitions):
            params = _key(self.key_of(row))
            params["forge_actor"] = current_identity().user
            excluded = self._run(None, self._sql(statement.excluded), params)
        possible = []
        for transition in transitions:
            state = columns[transition.column].value_of(row)
            is_excluded = (transition.name,) in excluded
            if state in transition.steps and not is_excluded and self.may(transition.name):
                possible.append(transition)
        return possible

    def locked(self, row: R) -> set[str]:
        """Return the names of the fields that no update changes in the present state of a row."""
        values = self.resource.to_json(row)
        names: set[str] = set()
        for column, states in self.resource.locked.items():
            names.update(states.get(values[column], ()))
        return names

    def is_inherited(self, *names: str) -> bool:
        """Whether the project overrides none of these methods."""
        return all(getattr(type(self), name) is getattr(Actions, name) for name in names)

    def public(self, id: Any, *, live: bool = True) -> R:
        """Return the row without columns that only some roles may see, to send it to many clients.

        No permission is checked. The tenant is that of the current identity.

        live: exclude rows that are marked as deleted.

        Raises NotFound.
        """
        rows = self.public_many([id], live=live)
        if not rows:
            raise self._not_found(id)
        return rows[id]

    def public_many(self, ids: Iterable[Any], *, live: bool = True) -> dict[Any, R]:
        """Return several such rows by key, those that exist, in one statement."""
        key = f"{quote(self.resource.key.name)} = any(%(forge_keys)s)"
        where = " and ".join([key, *scope(self.resource, "", live=live)])
        sql = f"{self.resource.select}\nwhere {where}"
        hidden = frozenset(c.name for c in self.resource.columns if c.visible_to)
        results = self._run(None, sql, {"forge_keys": list(ids)})
        rows = [self._row(values, hidden) for values in results]
        return {self.key_of(row): row for row in rows}

    # -- inside ------------------------------------------------------------------------------------

    def _delete_all(self, conn: db.Connection, id: Any, version: int | None) -> None:
        with db.transaction(conn):
            deleted, cleared = self._affected(id, conn)
            pending = Pending()
            for (actions, key), column in cleared:
                sql = actions._sql(statement.update, (column,), (), ())
                params = {column: None, **_key(key)}
                written = actions._write_row(conn, sql, params, "update", pending)
                if written.differing:
                    raise Conflict(text("other rows still refer to this one"))
            for actions, key in reversed(deleted[1:]):
                sql = actions._sql(statement.cascade_effects)
                actions._write_row(conn, sql, _key(key), "delete", pending)
            # The foreign keys of the database delete the others.
            sql = self._sql(statement.delete)
            self._write_row(conn, sql, _key(id, version), "delete", pending)
            apply_rules(pending, conn, self)

    def _affected(
        self, id: Any, conn: db.Connection
    ) -> tuple[list[AnyRow], list[tuple[AnyRow, str]]]:
        """The rows that deleting this row deletes, itself first, and the columns that it clears.

        All of these rows are locked on return, so no new row can refer to a deleted one.
        """
        lock = f"select 1 from {quote(self.resource.table)} where {this_row(self.resource)}"
        self._run(conn, f"{lock} for update", _key(id), write=True)
        deleted = [(self, id)]
        seen = set(deleted)
        cleared = []
        for actions, key in deleted:  # grows in the loop: a chain may be longer than Python's stack
            for referring, relation in self.registry.referencing_relations(actions.resource):
                for referring_key in referring._referring(relation, key, conn):
                    row = (referring, referring_key)
                    if relation.on_delete == "set_null":
                        cleared.append((row, relation.column))
                    elif row not in seen:
                        seen.add(row)
                        deleted.append(row)
        return deleted, [(row, column) for row, column in cleared if row not in seen]

    def _referring(self, relation: Relation, id: Any, conn: db.Connection) -> list[Any]:
        """Lock the rows that refer to `id` by this relation. Returns their keys."""
        refers = f"{quote(relation.column)} = %(forge_key)s"
        where = " and ".join([*scope(self.resource, ""), refers])
        column = quote(self.resource.key.name)
        table = quote(self.resource.table)
        sql = f"select {column} from {table} where {where} order by 1 for update"
        return [key for (key,) in self._run(conn, sql, _key(id), write=True)]

    def _change(
        self, id: Any, data: Item, operation: Operation, version: int | None, conn: Conn
    ) -> R:
        self.allow("update")
        self._needs_version(version)
        check = self._check(data, operation, id)
        errors = check.errors
        check.errors = []  # so that result() does not raise yet
        values = check.result()
        hidden = self.hidden()
        locked = [name for name in values if name in self._frozen]
        # The error must not reveal whether a hidden value equals the new one.
        errors += [self._unchangeable(name) for name in locked if name in hidden]
        frozen = tuple(name for name in locked if name not in hidden)
        if errors:  # compare frozen columns too, to report all errors together
            if not frozen:
                raise invalid(errors)
            values = {name: values[name] for name in frozen}
        params = values | _key(id, version)
        fields = tuple(name for name in values if name in self._links)
        merged = []
        for name in fields:
            if isinstance(values[name], KeyChanges):
                merged.append(name)
                params[f"forge_seen_{name}"] = values[name].seen
        changed = tuple(name for name in values if name not in self._kept)
        sql = self._sql(statement.update, changed, frozen, fields, tuple(merged))
        written = self._write_row(conn, sql, params, "update")
        errors += [self._unchangeable(name) for name in written.differing]
        if errors:
            raise invalid(errors)
        return self._row(written.values)


def _key(id: Any, version: int | None = None) -> dict[str, Any]:
    if version == ANY_VERSION:
        version = None
    return {"forge_key": id, "forge_version": version}


def _refusal(change: Transition, state: str) -> DomainError:
    """The error of a transition that was not possible from this state."""
    if state in change.steps:
        message = text("another user than the one of {field} must do this", field=change.not_by)
        return Forbidden(message, code="F648")
    message = text("the state is {state}, from which this is not possible", state=state)
    error = FieldError(f"/{change.column}", "state", message)
    return Conflict(message, code="F647", errors=[error])
