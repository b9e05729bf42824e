"""The actions of a resource: list, get, create, update, replace, delete, restore, and in bulk.

One copy for every resource; gen/ subclasses it with data, the user subclasses that with rules. Each
write is one statement (see writing/statement.py). `conn=None` means this thread's own connection;
with a connection of the caller's, the write is part of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from .. import db
from ..errors import FieldError, Invalid
from ..i18n import text
from . import statement
from .base import Conn, scope, this_row
from .check import KeyChanges, Operation
from .reader import ReadActions
from .resource import R, Relation, quote
from .writer import ANY_VERSION, Item, WriteActions

C = TypeVar("C", bound=Mapping[str, Any])
U = TypeVar("U", bound=Mapping[str, Any])
Doomed = dict[tuple[str, Any], Any]


class Actions(ReadActions[R], WriteActions[R], Generic[R, C, U]):
    """What can be done with one resource: R a row, C the data of a create, U of an update.

    Subclasses set `resource` and may override `validate` and every action. Each action needs its
    permission and, where the resource is tenant-scoped, a tenant; rows come back without what the
    current identity may not see (None).

    Every method may raise Unauthenticated, Forbidden, errors.Unavailable (database away) and
    errors.DatabaseError. A write on this thread's own connection outside a transaction is tried
    again when it and another stood in each other's way.
    """

    def create(self, data: C, *, id: Any = None, conn: Conn = None) -> R:
        """Validate and insert; the row's join rows, event, jobs and audit are in the same
        statement.

        id: the key, for a caller that knows it already. Raises Invalid with every wrong field,
        Conflict for a unique value that is taken.
        """
        self.allow("create")
        values = self._new(data, id)
        fields, pairs = self._linked([values])
        sql = self._sql(statement.create, fields)
        rows = self._write(conn, sql, values | pairs, lambda rows: {"create": len(rows)})
        return self._row(rows[0])

    def update(self, id: Any, data: U, *, version: int | None = None, conn: Conn = None) -> R:
        """Change the given fields. version: the one the caller has read, or None for whatever is
        there, which is said by ANY_VERSION where a version must be named.

        A change that changes nothing writes nothing. Raises NotFound, StaleVersion, Invalid,
        Conflict, and PreconditionRequired where a version must be named.
        """
        return self._change(id, data, "update", version, conn)

    def replace(self, id: Any, data: C, *, version: int | None = None, conn: Conn = None) -> R:
        """As `update`, but a field that is absent gets its default or NULL; fields that may not be
        seen, written or changed, and those of many_to_many, stay as they are.
        """
        return self._change(id, data, "replace", version, conn)

    def delete(self, id: Any, *, version: int | None = None, conn: Conn = None) -> None:
        """Delete the row; with soft_delete it stays in the table, unseen, until it is restored.

        Rows that refer to it with on_delete "cascade" or "set_null" are deleted or changed as by
        their own actions, without asking for their permissions: with event, jobs and audit. A
        cascade takes them out of the table, soft_delete or not. Where this row stays (soft_delete),
        nothing happens to those that refer to it. Raises NotFound, StaleVersion, Conflict where
        other rows still refer to it, and PreconditionRequired as `update`.
        """
        self.allow("delete")
        self._needs_version(version)
        if self.resource.soft_delete or not self.registry.referencing_relations(self.resource):
            self._delete(id, conn, version)
            return
        self._tried(conn, lambda own: self._delete_all(id, own, version))

    def restore(self, id: Any, *, version: int | None = None, conn: Conn = None) -> R:
        """Bring a deleted row back; one that is not deleted stays as it is.

        Raises NotFound, StaleVersion, Conflict for a unique value that was taken meanwhile.
        """
        self.allow("restore")
        if not self.resource.soft_delete:
            raise self._not_found(id)
        params = _key(id, version)
        _, found = self._changed(conn, self._sql(statement.restore), params, "restore")
        return self._row(found)

    def is_inherited(self, *names: str) -> bool:
        """Whether the project overrides none of these methods, so that they run no code of it."""
        return all(getattr(type(self), name) is getattr(Actions, name) for name in names)

    def public(self, id: Any, *, live: bool = True) -> R:
        """The row as anybody may see it who may read at all: for what is shown to many at once.

        Asks for no permission; the tenant is the current identity's. live: not one that is marked
        as deleted. Raises NotFound.
        """
        found = self.public_many([id], live=live)
        if not found:
            raise self._not_found(id)
        return found[id]

    def public_many(self, ids: Iterable[Any], *, live: bool = True) -> dict[Any, R]:
        """As `public`, in one statement: those that there are, by their keys."""
        key = f"{quote(self.resource.key.name)} = any(%(forge_keys)s)"
        where = " and ".join([key, *scope(self.resource, "", live=live)])
        sql = f"{self.resource.select}\nwhere {where}"
        hidden = frozenset(c.name for c in self.resource.columns if c.visible_to)
        found = self._run(None, sql, {"forge_keys": list(ids)})
        rows = [self._row(values, hidden) for values in found]
        return {self.key_of(row): row for row in rows}

    # -- inside ------------------------------------------------------------------------------------

    def _delete(self, id: Any, conn: Conn, version: int | None = None) -> None:
        self._changed(conn, self._sql(statement.delete), _key(id, version), "delete")

    def _delete_all(self, id: Any, conn: db.Connection, version: int | None) -> None:
        with db.transaction(conn):
            doomed = self._doomed(id, conn)
            for (_, key), actions in doomed.items():
                actions._forget(key, conn, doomed)
            del doomed[self.resource.topic, id]
            for (_, key), actions in reversed(doomed.items()):
                actions._changed(conn, actions._sql(statement.cascade_effects), _key(key), "delete")
            self._delete(id, conn, version)  # the database takes the others along

    def _doomed(self, id: Any, conn: db.Connection) -> Doomed:
        """This row, and after it the rows that its deletion cascades to, as (topic, key) → actions.

        All of them are locked on return, so no new row can refer to one of them.
        """
        lock = f"select 1 from {quote(self.resource.table)} where {this_row(self.resource)}"
        self._run(conn, lock + " for update", _key(id), write=True)
        found: Doomed = {(self.resource.topic, id): self}
        rows: list[tuple[Actions[Any, Any, Any], Any]] = [(self, id)]
        for actions, key in rows:  # grows meanwhile: a chain may be longer than Python's stack
            for other, relation in self.registry.referencing_relations(actions.resource):
                if relation.on_delete == "cascade":
                    for referring in other._referring(relation, key, conn):
                        place = other.resource.topic, referring
                        if place not in found:
                            found[place] = other
                            rows.append((other, referring))
        return found

    def _forget(self, id: Any, conn: db.Connection, doomed: Doomed) -> None:
        """Change those who refer to this row and stay."""
        for other, relation in self.registry.referencing_relations(self.resource):
            if relation.on_delete == "set_null":
                change = other._sql(statement.update, (relation.column,), (), ())
                for key in other._referring(relation, id, conn):
                    if (other.resource.topic, key) not in doomed:
                        values = {relation.column: None, **_key(key)}
                        other._changed(conn, change, values, "update")

    def _referring(self, relation: Relation, id: Any, conn: db.Connection) -> list[Any]:
        """The keys of the rows that refer to `id` by this relation; locked."""
        rule = " and ".join(
            [*scope(self.resource, ""), f"{quote(relation.column)} = %(forge_key)s"]
        )
        key, table = quote(self.resource.key.name), quote(self.resource.table)
        sql = f"select {key} from {table} where {rule} order by 1 for update"
        return [row[0] for row in self._run(conn, sql, _key(id), write=True)]

    def _change(
        self, id: Any, data: Item, operation: Operation, version: int | None, conn: Conn
    ) -> R:
        self.allow("update")
        self._needs_version(version)
        check = self._check(data, operation, id)
        errors, check.errors = check.errors, []
        values = check.result()
        locked, hidden = [name for name in values if name in self._frozen], self.hidden()
        # Nobody learns whether a hidden value is the given one.
        errors += _immutable(name for name in locked if name in hidden)
        frozen = tuple(name for name in locked if name not in hidden)
        if errors:  # what may not be changed is named with them, so it has to be compared
            if not frozen:
                raise Invalid(errors, text("some values are not valid"))
            values = {name: values[name] for name in frozen}
        fields = tuple(name for name in values if name in self._links)
        changed = tuple(name for name in values if name not in self._kept)
        merged = {n: values[n].seen for n in fields if isinstance(values[n], KeyChanges)}
        sql = self._sql(statement.update, changed, frozen, fields, tuple(merged))
        params = values | _key(id, version) | {f"forge_seen_{n}": s for n, s in merged.items()}
        differing, found = self._changed(conn, sql, params, "update")
        if errors := errors + _immutable(differing):
            raise Invalid(errors, text("some values are not valid"))
        return self._row(found)


def _key(id: Any, version: int | None = None) -> dict[str, Any]:
    return {"forge_key": id, "forge_version": None if version == ANY_VERSION else version}


def _immutable(names: Iterable[str]) -> list[FieldError]:
    return [FieldError("/" + name, "immutable", text("cannot be changed")) for name in names]
