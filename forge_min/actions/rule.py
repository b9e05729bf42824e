"""The changes of a write, as the rules of the project see them before the commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from .. import db
from ..errors import Conflict, FieldError, Invalid
from .base import BaseActions, Conn, Params, Rows
from .check import invalid
from .resource import R

_OPERATIONS = {"created": "create", "updated": "update"}  # of the states of an upsert


@dataclass(frozen=True, slots=True)
class RowChange(Generic[R]):
    """One row that a write has changed, for `Actions.rule`.

    operation: "create", "update", "delete" or "restore".
    before: the row as it was, hidden columns too; None for a create or a restore.
    after: the row as it is in this transaction; None for a delete.
    index: its position among the items of a bulk write; None for a single row.
    """

    operation: str
    before: R | None
    after: R | None
    index: int | None = None
    errors: list[FieldError] = field(default_factory=list)

    def error(self, field: str, code: str, message: str) -> None:
        """Report the error of a field: the write is rolled back after `rule`."""
        pointer = f"/{field}"
        if self.index is not None:
            pointer = f"/{self.index}/{field}"
        self.errors.append(FieldError(pointer, code, message))


Changes = Callable[[Rows], list[RowChange[R]]]
"""Returns the rows written, from the rows that a statement returns."""


Pending = dict["RuledActions[Any]", list[RowChange[Any]]]
"""Changes to which the rules of their resources are not applied yet."""


class RuledActions(BaseActions[R]):
    """Sends the statement of a write and applies the rule of the project in its transaction."""

    def __init__(self, database: db.Database) -> None:
        super().__init__(database)
        if type(self).rule is not RuledActions.rule:
            # Set on the instance, as by Registry.bind_hooks.
            vars(self)["resource"] = self.resource._replace(has_rule=True)

    def rule(self, changes: Sequence[RowChange[R]], conn: db.Connection) -> None:
        """Check a rule about several rows: call change.error(field, code, message).

        Every action calls it in the transaction of its write, before the commit: also verbs, and
        once at the end for rows in bulk and for cascades. If it reports an error or raises, all is
        rolled back. It is called again if the transaction conflicts with another one, so it has no
        effects outside the database.

        changes: the rows that the write has changed.
        conn: the connection of the transaction. Lock the rows on which the rule depends by
            `conn.lock_rows`, then read.
        """

    def _apply_rule(self, changes: Sequence[RowChange[R]], conn: db.Connection) -> None:
        """Call `rule`. Raises Invalid with the errors that it reports."""
        if changes:
            self.rule(changes, conn)
            errors = [error for change in changes for error in change.errors]
            if errors:
                raise invalid(errors)

    def _send(
        self,
        conn: Conn,
        sql: str,
        params: Params,
        changes: Changes[R],
        pending: Pending | None,
    ) -> Rows:
        """Execute a statement, and apply the rule to its changes in the same transaction.

        pending: add the changes here instead, so that the caller applies the rule; or None.
        """
        if pending is not None or not self.resource.has_rule:
            rows = self._run(conn, sql, params, write=True)
            if pending is not None and self.resource.has_rule:
                pending.setdefault(self, []).extend(changes(rows))
            return rows
        tenant = self.tenant()
        params = {**params, "forge_tenant": tenant}

        def send(connection: db.Connection) -> Rows:
            def check(rows: Rows) -> None:
                self._apply_rule(changes(rows), connection)

            return db.run_checked(connection, sql, params, tenant, check)

        return self._retry(conn, send)

    # -- changes for the rule, from the rows that a statement returns ------------------------------

    def _creates(self, index: Mapping[Any, int], rows: Rows) -> list[RowChange[R]]:
        # The first column is the key.
        return [self._change_of("create", values, index.get(values[0])) for values in rows]

    def _upserts(self, indexes: Sequence[int], rows: Rows) -> list[RowChange[R]]:
        changes = []
        for index, (state, _, *values) in zip(indexes, rows):
            if state in _OPERATIONS:
                changes.append(self._change_of(_OPERATIONS[state], values, index))
        return changes

    def _changes_of_row(self, operation: str, rows: Rows) -> list[RowChange[R]]:
        if not is_written(rows):
            return []
        return [self._change_of(operation, rows[0][3:])]

    def _change_of(
        self, operation: str, values: Sequence[Any], index: int | None = None
    ) -> RowChange[R]:
        """values: of the row after the write, then of the row before it."""
        width = len(self.resource.columns)
        before = after = None
        if operation not in ("create", "restore"):
            before = self._row(values[width:], frozenset())
        if operation != "delete":
            after = self._row(values[:width], frozenset())
        return RowChange(operation, before, after, index)


def is_written(rows: Rows) -> bool:
    """Return whether a `change` has written the row."""
    return bool(rows) and rows[0][0] is None


def apply_rules(pending: Pending, conn: db.Connection, written: RuledActions[Any]) -> None:
    """Apply the rule of each resource once, to all of its changes.

    written: the actions that the client called. Raises Invalid for its rows, Conflict for others.
    """
    for actions, changes in pending.items():
        try:
            actions._apply_rule(changes, conn)
        except Invalid as err:
            if actions is written:
                raise
            messages = dict.fromkeys(error.message for error in err.errors)
            raise Conflict("; ".join(messages)) from err
