"""What reading and writing share: who may do what, in which tenant, which columns are shown, and
how a statement is sent. It has no action of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from .. import db
from ..auth import Identity, current_identity, require
from ..errors import Forbidden, NotFound, Unauthenticated, Unavailable
from ..text import text
from .resource import Resource, quote
from .values import read_text

if TYPE_CHECKING:
    from .registry import Registry

R = TypeVar("R")
Rows = list[tuple[Any, ...]]


def hidden_columns(resource: Resource[Any], identity: Identity) -> frozenset[str]:
    """The names of the columns that `identity` may not see."""
    if identity.system:
        return frozenset()
    return frozenset(
        c.name for c in resource.columns if c.visible_to and identity.roles.isdisjoint(c.visible_to)
    )


class Base(Generic[R]):
    """One resource and its database. resource: set by generated code. registry: set when the
    actions are registered, so that relations find the actions of their targets.
    """

    resource: ClassVar[Resource[Any]]
    registry: Registry

    def __init__(self, database: db.Database) -> None:
        self._database = database
        # PERF: most resources hide nothing, and a list has many rows.
        self._hides = any(c.visible_to for c in self.resource.columns)

    def connection(self) -> db.Connection:
        """This thread's own connection, for a `db.transaction` around several actions."""
        return self._database.connection()

    # -- who and where -----------------------------------------------------------------------------

    def allow(self, operation: str) -> Identity:
        """The current identity, when it may do `operation`: read, create, update, delete, restore
        or the snake name of a verb. An operation without permission(...) is open.

        Raises Unauthenticated for nobody, Forbidden for somebody without one of its roles, and what
        `tenant` raises.
        """
        roles = self.resource.permissions.get(operation)
        identity = current_identity() if roles is None else require(*roles)
        self.tenant()
        return identity

    def tenant(self) -> UUID | None:
        """The tenant whose rows are meant; None for a resource that belongs to no tenant.

        Raises Unauthenticated for nobody, Forbidden F620 for somebody without a tenant.
        """
        if not self.resource.tenant_scoped:
            return None
        identity = current_identity()
        if identity.tenant is not None:
            return identity.tenant
        if not identity.user:
            raise Unauthenticated(text("this needs an identity"))
        raise Forbidden(text("this needs a tenant, and the identity acts in none"), code="F620")

    def hidden(self) -> frozenset[str]:
        """The names of the columns that the current identity may not see."""
        return hidden_columns(self.resource, current_identity()) if self._hides else frozenset()

    # -- rows and keys -----------------------------------------------------------------------------

    def to_json(self, row: R) -> dict[str, Any]:
        """The row as a JSON object, without what the current identity may not see."""
        shown: dict[str, Any] = self.resource.to_json(row)
        for name in self.hidden():
            shown.pop(name, None)
        return shown

    def read_key(self, spelled: str) -> Any:
        """The key that a URL or an event spells. Raises NotFound for what can be none."""
        try:
            return read_text(self.resource.key.type, spelled)
        except ValueError:
            raise self._not_found(spelled[:100]) from None

    def key_of(self, row: R) -> Any:
        """The primary key of a row."""
        key = self.resource.key
        return getattr(row, key.attribute or key.name)

    def _row(self, values: Sequence[Any], hidden: frozenset[str] | None = None) -> R:
        """The row of the resource's columns as selected; `hidden` ones, by default those of the
        current identity, are None.
        """
        if self._hides:
            hidden = self.hidden() if hidden is None else hidden
            pairs = zip(self.resource.columns, values, strict=True)
            values = [None if column.name in hidden else value for column, value in pairs]
        row: R = self.resource.row(*values)
        return row

    def _find(self, key: Any, conn: db.Connection | None = None) -> tuple[Any, ...]:
        """The columns of one row, unmasked. Raises NotFound."""
        sql = self.resource.select + self._where(f"{quote(self.resource.key.name)} = %(forge_key)s")
        rows = self._run(conn, sql, {"forge_key": key})
        if not rows:
            raise self._not_found(key)
        return rows[0]

    def _not_found(self, key: object) -> NotFound:
        return NotFound(text("there is no {name} {key}", name=self.resource.event, key=key))

    # -- statements --------------------------------------------------------------------------------

    def _where(self, *conditions: str) -> str:
        """A WHERE clause of these conditions and of those that every read carries: this tenant's
        rows (`_run` gives the placeholder), and none that was deleted.
        """
        found = scope(self.resource, "") + list(conditions)
        return "\nwhere " + " and ".join(found) if found else ""

    def _run(
        self,
        conn: db.Connection | None,
        sql: str,
        params: Mapping[str, Any],
        *,
        write: bool = False,
    ) -> Rows:
        """The statement's rows. In a tenant's resource %(forge_tenant)s is filled in, and set for
        row-level security in the same round trip.

        On this thread's own connection outside a transaction a read is sent again once when the
        connection was lost, a write twice when it got in another's way (F406). Raises the errors of
        `db.translate`.
        """
        tenant = self.tenant()
        if tenant is not None:
            params = {**params, "forge_tenant": tenant}
        code, tries = ("F406", 2) if write else ("F405", 1)
        while True:
            own = conn or self._database.connection()
            again = tries > 0 and conn is None and db.is_idle(own)
            try:
                return db.run(own, sql, params, tenant=tenant)
            except Unavailable as err:
                if not again or err.code != code:
                    raise
            tries -= 1
            if write:
                time.sleep(random.uniform(0.002, 0.03))  # so that the two do not meet again


def scope(resource: Resource[Any], source: str, *, live: bool = True) -> list[str]:
    """The conditions that a statement on the resource's rows carries: this tenant's, and with
    `live` none that was deleted. source: their alias, or "".
    """
    prefix = source and source + "."
    found = [f'{prefix}"tenant_id" = %(forge_tenant)s'] if resource.tenant_scoped else []
    if resource.soft_delete and live:
        found.append(f'{prefix}"deleted_at" is null')
    return found
