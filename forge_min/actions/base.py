"""The common part of reading and writing: permissions, tenants, hidden columns and statements.

It has no action of its own.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from string import Template
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID

from .. import db
from ..auth import Identity, current_identity, require, require_one_of
from ..errors import BadRequest, DatabaseError, DomainError, Forbidden, NotFound, Unavailable
from ..i18n import text
from ..lazy import lazy_pattern
from .check import rules_of
from .resource import AnyResource, R, quote
from .values import read_text

if TYPE_CHECKING:
    from .registry import Registry

Conn = db.Connection | None
Params = Mapping[str, Any]
Rows = list[tuple[Any, ...]]
TOO_LARGE = "F646"
T = TypeVar("T")
_SHORT = 2048  # characters: a thousand such values may be in memory
LINES = ("string", "slug", "email")  # types for one line of text
_COMMENT = lazy_pattern(r"\n*^--.*", re.MULTILINE)


def hidden_columns(resource: AnyResource) -> frozenset[str]:
    """Return the names of the columns that the current identity may not see."""
    identity = current_identity()
    guarded = [c for c in resource.columns if c.visible_to]
    return frozenset(c.name for c in guarded if not identity.has_one_of(c.visible_to))


def _plain_attributes(resource: AnyResource) -> tuple[str, ...]:
    """The attributes of a row class that is a plain dataclass of the columns; else ()."""
    row = resource.row
    if not is_dataclass(row) or hasattr(row, "__post_init__"):
        return ()
    names = tuple(c.attribute or c.name for c in resource.columns)
    if tuple(field.name for field in fields(row)) != names:
        return ()
    return names


def _size_of(name: str, kind: str, options: Mapping[str, Any]) -> str:
    """SQL of the size of a value, "" if it is short. kind, options: as in `rules_of`."""
    if kind in ("json", "array"):
        return f"octet_length({quote(name)}::text)"
    max_len = options.get("max_len", 0)
    is_unlimited = kind in ("string", "text") and not max_len
    is_long = kind != "many" and max_len > _SHORT
    if is_unlimited or is_long:
        return f"octet_length({quote(name)})"
    return ""


class Limits(NamedTuple):
    """Limits of values and lists.

    json: bytes of one JSON value.
    response: bytes of the rows of one list, and of its response.
    conditions: of a list that a URL requests.
    """

    json: int = 1 << 20
    response: int = 16 << 20
    conditions: int = 20

    def too_large(self) -> BadRequest:
        """Return the error for a list that is larger than `response`."""
        message = text(
            "this list is larger than {max} bytes: ask for fewer rows", max=self.response
        )
        return BadRequest(message, code=TOO_LARGE)


DEFAULTS = Limits()


class BaseActions(Generic[R]):
    """One resource and its database.

    resource: set by generated code.
    registry: set when the actions are registered; relations find the actions of their targets
        there.
    """

    resource: ClassVar[AnyResource]
    registry: Registry
    limits = DEFAULTS

    def __init__(self, database: db.Database) -> None:
        self._database = database
        # PERF: most resources hide nothing, and a list has many rows.
        resource = self.resource
        self._hides = any(c.visible_to for c in resource.columns)
        self._open = not (self._hides or resource.permissions)
        self._attributes = _plain_attributes(resource)
        rules = rules_of(resource.check)
        sizes = [_size_of(name, *rule) for name, rule in rules.items()]
        self._sizes = [size for size in sizes if size]
        # The columns that the server sets, including a key that it creates.
        self.served = frozenset(c.name for c in resource.columns if c.name not in rules)
        self._advised: set[object] = set()  # the shapes of which a warning is logged
        self._one = f"{resource.select}\nwhere {this_row(resource)}"

    def connection(self) -> db.Connection:
        """Return this thread's own connection, for a `db.transaction` around several actions."""
        return self._database.connection()

    # -- permissions -------------------------------------------------------------------------------

    def allow(self, operation: str) -> Identity:
        """Return the current identity if it may do `operation`, and check that it acts in a tenant.

        operation: read, create, update, delete, restore, audit or the snake name of a verb (see
            `Resource.roles`). Without a permission of its own, "audit" is for signed-in users with
            the permission "read".

        Raises Unauthenticated for an anonymous user, Forbidden for another without one of the
        roles, and the errors of `tenant`.
        """
        resource = self.resource
        if operation == "audit" and resource.auditable and "audit" not in resource.permissions:
            require()
            operation = "read"
        roles = resource.roles(operation)
        if roles is None:
            identity = current_identity()
        else:
            identity = require_one_of(roles, f"{resource.topic}: {operation}")
        self.tenant()
        return identity

    def may(self, operation: str) -> bool:
        """Return whether `allow` permits the operation."""
        with suppress(DomainError):
            return bool(self.allow(operation))
        return False

    def tenant(self) -> UUID | None:
        """Return the tenant of the rows, None for a resource that belongs to no tenant.

        Raises Unauthenticated for an anonymous user, Forbidden F620 for another without a tenant.
        """
        if not self.resource.tenant_scoped:
            return None
        tenant = current_identity().tenant
        if tenant is None:
            require()  # an anonymous user must sign in first
            raise Forbidden(text("this needs a tenant, and the identity acts in none"), code="F620")
        return tenant

    def hidden(self) -> frozenset[str]:
        """Return the names of the columns that the current identity may not see."""
        if not self._hides:
            return frozenset()
        return hidden_columns(self.resource)

    def _may_read(self) -> bool:
        """Whether the current identity has the permission "read"."""
        roles = self.resource.roles("read")
        return roles is None or current_identity().has_one_of(roles)

    # -- rows and keys -----------------------------------------------------------------------------

    def to_json(self, row: R) -> dict[str, Any]:
        """Return the row as a JSON object, without columns that the current identity may not see.

        An identity that may write but not read gets the key and the version.
        """
        if self._open:
            return self.resource.to_json(row)
        return self._to_json([row])[0]

    def _to_json(self, rows: Iterable[R]) -> list[dict[str, Any]]:
        objects = [*map(self.resource.to_json, rows)]
        if not self._may_read():
            names = (self.resource.key.name, "version")
            return [{name: item[name] for name in names} for item in objects]
        for name in self.hidden():
            for item in objects:
                item.pop(name, None)
        return objects

    def read_key(self, spelled: str) -> Any:
        """Return the key that a URL or an event spells. Raises NotFound for a malformed key."""
        try:
            return read_text(self.resource.key.type, spelled)
        except ValueError:
            raise self._not_found(spelled[:100]) from None

    def key_of(self, row: R) -> Any:
        """Return the primary key of a row."""
        return self.resource.key.value_of(row)

    def label(self, row: R) -> str:
        """Override it to compute the title of a row. By default "": that of the schema is used."""
        return ""

    def title_template(self) -> str:
        """Return the template of the title of a row: that of the schema, or "{name}".

        Without one in the schema it is a visible column with a usual name, else the first for one
        line of text, else "".
        """
        if self.resource.title:
            return self.resource.title
        hidden = self.hidden()
        lines = [c.name for c in self.resource.columns if c.type in LINES and c.name not in hidden]
        for name in ("name", "title", "label", "number", *lines):
            if name in lines:
                return f"{{{name}}}"
        return ""

    def _row(self, values: Sequence[Any], hidden: frozenset[str] | None = None) -> R:
        """The row of the resource's columns as selected.

        hidden: names of columns to set to None; by default those hidden from the current identity.
        """
        if self._hides:
            if hidden is None:
                hidden = self.hidden()
            pairs = zip(self.resource.columns, values, strict=True)
            values = [None if column.name in hidden else value for column, value in pairs]
        row: R = self.resource.row(*values)
        return row

    def _find(self, key: Any, conn: Conn = None) -> tuple[Any, ...]:
        """The columns of one row, hidden ones too. Raises NotFound."""
        rows = self._run(conn, self._one, {"forge_key": key})
        if not rows:
            raise self._not_found(key)
        return rows[0]

    def _not_found(self, key: object) -> NotFound:
        return NotFound(text("{name} {key} not found", name=self.resource.event, key=key))

    # -- statements --------------------------------------------------------------------------------

    def run_sql(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        into: type[T],
        write: bool = False,
        conn: Conn = None,
    ) -> list[T]:
        """Execute a statement of the project, with the rows of the current identity's tenant only.

        It checks no permission and hides no column.

        sql: the statement; params: its values.
        into: a dataclass with a field for each column of the result, or `dict`.
        write: false executes it in a read-only transaction.

        Returns the rows. Raises as `tenant`, ForgeError F418 for a tenant's table when the identity
        acts in no tenant, and the errors of `db.translate`.
        """
        tenant = self.tenant() or current_identity().tenant
        if write:  # never repeated, because its effects are unknown
            connection = conn or self._database.connection()
            return db.query(connection, sql, params, into, tenant, True)
        return self._retry(conn, db.query, sql, params, into, tenant, False, write=False)

    def _run(self, conn: Conn, sql: str, params: Params, *, write: bool = False) -> Rows:
        """Execute a statement. Returns its rows.

        %(forge_tenant)s is set; for a tenant-scoped resource the tenant is also set for row-level
        security in the same round trip. Raises the errors of `db.translate`.
        """
        tenant = self.tenant()
        params = {**params, "forge_tenant": tenant}
        work = db.run if write else db.read
        return self._retry(conn, work, sql, params, tenant, write=write)

    def _run_page(
        self, conn: Conn, sql: str, params: Params, limit: int, sizes: Sequence[str] | None = None
    ) -> tuple[Rows, bool]:
        """Return the first rows of a query, and whether it has more.

        limit: the number of rows. Together they are not larger than `limits.response`, unless there
            is only one: the database adds up the sizes before it sends rows.
        sizes: SQL of the sizes of columns that may be long; by default those of this resource.
        """
        if sizes is None:
            sizes = self._sizes
        if not sizes:
            rows = self._run(conn, sql, params)
            return rows[:limit], len(rows) > limit
        max_bytes = self.limits.response
        added = "+".join(f"coalesce({size}, 0)" for size in sizes)
        page = f"with forge_page as materialized (\n{sql}\n)\nselect"
        total = f"select count(*), coalesce(sum({added}), 0) as forge_bytes from forge_page"
        fits = f"({total}) forge_sum left join forge_page on forge_bytes <= {max_bytes:d}"
        rows = self._run(conn, f"{page} forge_sum.*, forge_page.* from {fits}", params)
        count, size = rows[0][:2]  # if no row fits: one row, with NULLs
        if size <= max_bytes:
            return [row[2:] for row in rows[: min(count, limit)]], count > limit
        # PERF: lists that fit need no window function, so it is in a second statement.
        sized = f"""{page} * from (
            select *, (select count(*) from forge_page), row_number() over forge_rows as forge_row,
                sum({added}) over forge_rows as forge_size
            from forge_page window forge_rows as (rows unbounded preceding)
        ) forge_sized where forge_row = 1 or forge_size <= {max_bytes:d}"""
        rows = self._run(conn, sized, params)[:limit]
        has_more = bool(rows) and rows[0][-3] > len(rows)
        return [row[:-3] for row in rows], has_more

    def _retry(self, conn: Conn, work: Callable[..., T], *args: Any, write: bool = True) -> T:
        """Return the result of `work` with `conn`, or with this thread's own connection.

        With the own connection outside a transaction, a read is repeated once if the connection was
        lost, a write twice if it conflicted with another (F406). A read that fails on a standby is
        repeated elsewhere. Work of several statements must be one transaction.
        """
        code = "F405"
        tries = 1
        if write:
            code = "F406"
            tries = 2
        replica = None
        while True:
            if write or conn is not None:
                connection = conn or self._database.connection()
            else:
                connection, replica = self._database.reader()
            again = tries > 0 and conn is None and db.is_idle(connection)
            try:
                return work(connection, *args)
            except (Unavailable, DatabaseError) as err:
                if replica is not None and err.code not in ("F407", "F642", "F656"):
                    if isinstance(err, Unavailable):
                        replica.suspend(err)
                    db.read_from_primary()
                    continue
                if not again or err.code != code:
                    raise
            tries -= 1
            if write:
                time.sleep(random.uniform(0.002, 0.03))  # so that the two do not conflict again


def scope(resource: AnyResource, source: str, *, live: bool = True) -> list[str]:
    """Return the conditions for a statement on the resource's rows: of this tenant, not deleted.

    source: the alias of the table, or "".
    live: exclude rows that are marked as deleted.
    """
    prefix = source and source + "."
    conditions = []
    if resource.tenant_scoped:
        conditions.append(f'{prefix}"tenant_id" = %(forge_tenant)s')
    if resource.soft_delete and live:
        conditions.append(f'{prefix}"deleted_at" is null')
    return conditions


def this_row(resource: AnyResource, source: str = "", *, live: bool = True) -> str:
    """Return the condition for the row of %(forge_key)s, with those of `scope`."""
    prefix = source and source + "."
    key = f"{prefix}{quote(resource.key.name)} = %(forge_key)s"
    return " and ".join([key, *scope(resource, source, live=live)])


def load_frames(file: str) -> dict[str, Template]:
    """Return the statements of a .sql file beside this one, with $names to fill in.

    Comments are left out.
    """
    statements = db.load_sql(__package__, file).items()
    return {name: Template(_COMMENT.sub("", text)) for name, text in statements}
