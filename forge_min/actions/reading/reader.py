"""The reading half of a resource's actions: get, list, stream, related rows, the log of changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ... import db
from ..base import Base, Rows
from ..resource import Page, Relation, quote
from ..values import to_text
from . import audit, listing, related
from . import cursor as tokens
from .audit import AuditEntry
from .listing import Position
from .query import DEFAULT_LIMIT, ListQuery, known, not_included

R = TypeVar("R")
Made = list  # inside the class, `list` is the action
BATCH = 1000  # rows of one statement of `stream`


class Reader(Base[R]):
    """What can be read of one resource. Every method needs the permission "read", and sees this
    tenant's rows only, without those that were deleted.

    Every method may raise Unauthenticated, Forbidden and the errors of `db.translate`.
    """

    def get(self, key: Any, *, conn: db.Connection | None = None) -> R:
        """The row. Raises NotFound."""
        self.allow("read")
        return self._row(self._find(key, conn))

    def list(self, query: ListQuery | None = None, *, conn: db.Connection | None = None) -> Page[R]:
        """One page, by cursor or with a total; one round trip. Raises BadRequest for a cursor that
        is not one of this list.
        """
        self.allow("read")
        query = query or ListQuery()
        order = listing.order_of(self.resource, query)
        used_for = listing.cursor_scope(self.resource.topic, self.tenant(), order, query.q)
        at = None
        if query.cursor is not None:
            at = listing.read_position(self.registry.secret, used_for, order, query.cursor)
        found = self._run(conn, *listing.statement(self.resource, query, at))
        more = len(found) > query.limit
        found = found[: query.limit]
        if query.page is not None:
            return self._numbered(query, found, conn)
        backwards = at is not None and at.backwards
        if backwards:
            found.reverse()
        places = listing.places(self.resource, order)

        def token(values: Sequence[Any], towards_start: bool) -> str:
            keys = [values[n] for n in places]
            return listing.write_position(self.registry.secret, used_for, keys, towards_start)

        has_next, has_prev = (bool(found), more) if backwards else (more, at is not None)
        return Page(
            self._rows(found),
            token(found[-1], False) if has_next else None,
            token(found[0], True) if has_prev and found else None,
        )

    def stream(
        self, query: ListQuery | None = None, *, conn: db.Connection | None = None
    ) -> Iterator[R]:
        """Every row that `query` finds, in its order; its limit, page and cursor do not count.

        Read in batches, each a statement of its own: no transaction stays open, and a row that is
        written in the meantime is there or not, never twice.
        """
        self.allow("read")
        return self._streamed(replace(query or ListQuery(), limit=BATCH, page=None), conn)

    def related(
        self, rows: Sequence[R], names: Iterable[str], *, conn: db.Connection | None = None
    ) -> dict[str, dict[Any, Any]]:
        """The rows that relations lead to, as {name: {key of a row: what it leads to}}: a row or
        None, for has_many and many_to_many the newest 100 rows.

        One query per relation, however many rows. The permission and the hidden columns are the
        target's. Raises BadRequest for a relation that there is not.
        """
        return {
            name: self._related(relation, rows, conn)
            for name, relation in known(self.resource, names).items()
        }

    def to_json_many(self, rows: Sequence[R], include: Iterable[str] = ()) -> Made[dict[str, Any]]:
        """The rows as JSON objects, with the rows of these relations under the relations' names.

        Raises as `related`.
        """
        made = [self.to_json(row) for row in rows]
        for name, found in self.related(rows, include).items() if include else ():
            (relation,) = (r for r in self.resource.relations if r.name == name)
            show = self.registry.actions[relation.target].to_json
            for row, shown in zip(rows, made, strict=True):
                leads = found[self.key_of(row)]
                many = isinstance(leads, list)
                shown[name] = [show(each) for each in leads] if many else leads and show(leads)
        return made

    def audit_log(
        self,
        key: Any,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        conn: db.Connection | None = None,
    ) -> Page[AuditEntry]:
        """The changes of a row, the newest first; also of one that was deleted.

        Raises NotFound where there is neither row nor change, BadRequest for a cursor of another
        log.
        """
        self.allow("read")
        secret, topic, tenant = self.registry.secret, self.resource.topic, self.tenant()
        used_for = f"{topic} {tenant} audit {to_text(key)}"
        before = None if cursor is None else tokens.read(secret, used_for, cursor)[0][0]
        params = {"forge_topic": topic, "forge_id": to_text(key), "forge_tenant": tenant}
        bounds = {"forge_before": before, "forge_limit": limit + 1}
        found = self._run(conn, audit.SQL["log"], params | bounds)
        if not found and cursor is None:
            self._find(key, conn)
        hidden = self.hidden()
        entries = [audit.entry(self.resource, hidden, values) for values in found[:limit]]
        more = len(found) > limit
        last = tokens.write(secret, used_for, [str(entries[-1].id)], False) if more else None
        return Page(entries, last)

    def version_of(self, key: Any, *, conn: db.Connection | None = None) -> int | None:
        """The version of a row now, for a change that is to follow; None where there is none."""
        resource = self.resource
        source, name = quote(resource.source or resource.table), quote(resource.key.name)
        where = self._where(f"{name} = %(forge_key)s")
        found = self._run(conn, f'select "version" from {source}{where}', {"forge_key": key})
        return found[0][0] if found else None

    # -- inside ------------------------------------------------------------------------------------

    def _rows(self, found: Rows) -> Made[R]:
        """Rows of what `listing.statement` gave."""
        width = len(self.resource.columns)
        if self._hides:
            hidden = self.hidden()
            return [self._row(values[:width], hidden) for values in found]
        row = self.resource.row
        return [row(*values[:width]) for values in found]

    def _numbered(self, query: ListQuery, found: Rows, conn: db.Connection | None) -> Page[R]:
        if found or query.page == 1:
            return Page(self._rows(found), total=found[0][-1] if found else 0)
        first = self.list(replace(query, limit=1, page=1), conn=conn)
        return Page([], total=first.total)

    def _streamed(self, query: ListQuery, conn: db.Connection | None) -> Iterator[R]:
        places = listing.places(self.resource, listing.order_of(self.resource, query))
        at, more = None, True
        while more:
            found = self._run(conn, *listing.statement(self.resource, query, at))
            more = len(found) > BATCH
            yield from self._rows(found[:BATCH])
            if more:
                at = Position(tuple(found[BATCH - 1][n] for n in places))

    def _related(
        self, relation: Relation, rows: Sequence[R], conn: db.Connection | None
    ) -> dict[Any, Any]:
        target = self.registry.actions[relation.target]
        target.allow("read")
        many = relation.kind in ("has_many", "many_to_many")
        leads = {self.key_of(row): self.key_of(row) for row in rows}
        if relation.kind == "belongs_to":
            leads = {self.key_of(row): getattr(row, relation.column) for row in rows}
        elif relation.kind != "many_to_many" and relation.column in target.hidden():
            raise not_included(relation.name, ())
        keys = [key for key in dict.fromkeys(leads.values()) if key is not None]
        found: dict[Any, list[Any]] = defaultdict(list)
        if keys:
            sql = related.statement(relation, self.resource, target.resource)
            params = {"forge_keys": keys, "forge_limit": related.MOST if many else 1}
            hidden = target.hidden()
            for lead, *values in target._run(conn, sql, params):
                found[lead].append(target._row(values, hidden))
        if many:
            return {key: found[lead] for key, lead in leads.items()}
        return {key: next(iter(found[lead]), None) for key, lead in leads.items()}
