"""The reading half of a resource's actions: get, list, stream, related rows, the log of changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, cast

from .. import db
from ..errors import BadRequest, DomainError
from ..fanout import iso_utc, make_rows
from ..i18n import text
from . import query as queries
from .base import Base, Conn, Rows
from .query import DEFAULT_LIMIT, ListQuery, join
from .resource import Page, R, Relation, quote
from .values import to_text

_AUDIT = db.load_sql("forge_min.actions", "audit.sql")
_AUDIT_SIZES = ("octet_length(changes::text)",)
Made = list  # inside the class, `list` is the action
BATCH = 1000  # rows of one statement of `stream`


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a row.

    operation: create, update, delete or restore. actor: the identity's user, or "".

    changes: field → [before, after] as in the JSON of the resource; None stands for "not there".
    actor_name, actor_email: of a user of this application, as they are now, for readers with a
    declared permission "audit"; else "".
    """

    id: int
    operation: str
    version: int
    actor: str
    request_id: str
    at: datetime
    changes: dict[str, list[Any]]
    actor_name: str = ""
    actor_email: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return asdict(self) | {"at": iso_utc(self.at)}


class Reader(Base[R]):
    """What can be read of one resource. Every method needs the permission "read" (`audit_log` needs
    "audit"), and sees this tenant's rows only, without those that were deleted.

    Every method may raise Unauthenticated, Forbidden and the errors of `db.translate`.
    """

    def get(self, key: Any, *, conn: Conn = None) -> R:
        """The row. Raises NotFound."""
        self.allow("read")
        return self._row(self._find(key, conn))

    def list(self, query: ListQuery | None = None, *, conn: Conn = None) -> Page[R]:
        """One page, by cursor or with a total; one round trip. Raises BadRequest for a cursor that
        is not one of this list, and for a relation to include that there is not.

        By cursor it ends before it is larger than `limits.response`, but has at least one row; with
        a total, it raises BadRequest F646 instead.
        """
        self.allow("read")
        query = query or ListQuery()
        self.relations(query.include)
        if query.page is not None:
            found, more = self._found(query, None, conn)
            if more and len(found) < query.limit:
                raise self.limits.too_large()
            return self._numbered(query, found, conn)
        cursors = queries.Cursors(self.resource, query, self.tenant(), self.registry.secret)
        at = None if query.cursor is None else cursors.read(query.cursor)
        found, more = self._found(query, at, conn)
        backwards = at is not None and at.backwards
        if backwards:
            found.reverse()
        has_next, has_prev = (bool(found), more) if backwards else (more, at is not None)
        return Page(
            self._rows(found),
            cursors.write(found[-1], False) if has_next else None,
            cursors.write(found[0], True) if has_prev and found else None,
        )

    def stream(self, query: ListQuery | None = None, *, conn: Conn = None) -> Iterator[R]:
        """Every row that `query` finds, in its order; its limit, page and cursor do not count.

        Read in batches, each a statement of its own: no transaction stays open, and a row that is
        written in the meantime is there or not, never twice.
        """
        return chain.from_iterable(self.batches(query, conn=conn))

    def batches(self, query: ListQuery | None = None, *, conn: Conn = None) -> Iterator[Made[R]]:
        """The rows of `stream` in the lists in which they are read: of up to 1,000 rows, and no
        larger than a list may be unless it is of one row.
        """
        self.allow("read")
        return self._streamed(replace(query or ListQuery(), limit=BATCH, page=None), conn)

    def related(
        self, rows: Sequence[R], names: Iterable[str], *, conn: Conn = None
    ) -> dict[str, dict[Any, Any]]:
        """The rows that relations lead to, as {name: {key of a row: what it leads to}}: a row or
        None, for has_many and many_to_many the newest 100 rows.

        One query per relation, however many rows. The permission and the hidden columns are the
        target's. Raises BadRequest for a relation that there is not.
        """
        return {r.name: self._related(r, rows, conn) for r in self.relations(names)}

    def relations(self, names: Iterable[str]) -> Made[Relation]:
        """The relations of these names, each once. Raises BadRequest naming those that there are;
        one whose key is hidden from the current identity is not.
        """
        wanted = tuple(dict.fromkeys(names))
        allowed = {r.name: r for r in self.resource.relations if wanted and not self._secret(r)}
        for name in wanted:
            if name not in allowed:
                found = join(allowed)
                message = text("{name} cannot be included; relations: {all}", name=name, all=found)
                raise BadRequest(message)
        return [allowed[name] for name in wanted]

    def lists_of_keys(self) -> Made[Relation]:
        """The many_to_many relations whose targets the current identity may read."""
        found = []
        for relation in self.resource.relations:
            with suppress(DomainError):
                if relation.field and self.registry.actions[relation.target].allow("read"):
                    found.append(relation)
        return found

    def linked(self, key: Any, relation: Relation, *, conn: Conn = None) -> Made[Any]:
        """The keys that a row is linked to by a many_to_many, also those of deleted targets."""
        self.allow("read")
        join, own, other = map(quote, (relation.join, relation.column, relation.target_column))
        scoped = ' and "tenant_id" = %(forge_tenant)s' if self.resource.tenant_scoped else ""
        sql = f"select {other} from {join} where {own} = %(forge_key)s{scoped} order by 1"
        return [found for (found,) in self._run(conn, sql, {"forge_key": key})]

    def shown(self) -> dict[str, str]:
        """The fields that the current identity may see, with their types: "many" for the keys of a
        many_to_many.
        """
        hidden = self.hidden()
        columns = {c.name: c.type for c in self.resource.columns if c.name not in hidden}
        return columns | {link.field: "many" for link in self.lists_of_keys()}

    def to_json_many(self, rows: Sequence[R], include: Iterable[str] = ()) -> Made[dict[str, Any]]:
        """The rows as JSON objects, with the rows of these relations under the relations' names.

        Raises as `related`.
        """
        made = self._shown(rows)
        for relation in self.relations(include):
            show = self.registry.actions[relation.target].to_json
            found = self._related(relation, rows, None)
            for row, shown in zip(rows, made, strict=True):
                led = found[self.key_of(row)]
                many = isinstance(led, list)
                shown[relation.name] = [*map(show, led)] if many else led and show(led)
        return made

    def audit_log(
        self, key: Any, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, conn: Conn = None
    ) -> Page[AuditEntry]:
        """The changes of a row, the newest first; also of one that was deleted.

        Entries have the names and emails of the users who made the changes if the resource declares
        the permission "audit" and the current identity is not anonymous. Raises NotFound where
        there is neither row nor change, BadRequest for a cursor of another log.
        """
        identity = self.allow("audit")
        topic, id, secret = self.resource.topic, to_text(key), self.registry.secret
        used_for = f"{topic} {self.tenant()} audit {id}"
        params = {"forge_topic": topic, "forge_id": id, "forge_limit": limit + 1}
        params["forge_before"] = None
        declared = "audit" in self.resource.permissions
        params["forge_named"] = identity.system or (declared and bool(identity.user))
        if cursor is not None:
            (params["forge_before"],), _ = queries.read_cursor(secret, used_for, cursor, tuple)
        found, more = self._run_page(conn, _AUDIT["log"], params, limit, _AUDIT_SIZES)
        if not found and cursor is None:
            self._find(key, conn)
        shown = self.shown()
        entries = [_entry(shown, values) for values in found]
        if not more:
            return Page(entries)
        return Page(entries, queries.write_cursor(secret, used_for, [str(entries[-1].id)], False))

    # -- inside ------------------------------------------------------------------------------------

    def _rows(self, found: Rows) -> Made[R]:
        """Rows of what `statement` gave."""
        hidden, width, row = self.hidden(), len(self.resource.columns), self.resource.row
        if not hidden and self._attributes:
            return make_rows(cast("type[R]", row), self._attributes, found)
        return [self._row(values[:width], hidden) for values in found]

    def _numbered(self, query: ListQuery, found: Rows, conn: Conn) -> Page[R]:
        if found or query.page == 1:
            return Page(self._rows(found), total=found[0][-1] if found else 0)
        first = self.list(replace(query, limit=1, page=1), conn=conn)
        return Page([], total=first.total)

    def _found(
        self, query: ListQuery, at: queries.Position | None, conn: Conn
    ) -> tuple[Rows, bool]:
        return self._run_page(conn, *queries.statement(self.resource, query, at), query.limit)

    def _streamed(self, query: ListQuery, conn: Conn) -> Iterator[Made[R]]:
        cursors = queries.Cursors(self.resource, query, self.tenant(), self.registry.secret)
        at, more = None, True
        while more:
            found, more = self._found(query, at, conn)
            # PERF: the database reads all rows of a batch to add them up, also those it cuts off.
            query = replace(query, limit=min(BATCH, 2 * len(found)))
            yield self._rows(found)
            at = cursors.at(found[-1]) if more else None

    def _related(self, relation: Relation, rows: Sequence[R], conn: Conn) -> dict[Any, Any]:
        target = self.registry.actions[relation.target]
        target.allow("read")
        leads = {self.key_of(row): self.key_of(row) for row in rows}
        if relation.kind == "belongs_to":
            leads = {self.key_of(row): getattr(row, relation.column) for row in rows}
        found: dict[Any, list[Any]] = defaultdict(list)
        if keys := [key for key in dict.fromkeys(leads.values()) if key is not None]:
            sql = queries.related_statement(relation, self.resource, target.resource)
            hidden = target.hidden()
            most = queries.MOST_RELATED * len(keys)
            reached, more = target._run_page(conn, sql, {"forge_keys": keys}, most)
            if more:
                raise target.limits.too_large()
            for lead, *values in reached:
                found[lead].append(target._row(values, hidden))
        if relation.kind in queries.MANY:
            return {key: found[lead] for key, lead in leads.items()}
        return {key: next(iter(found[lead]), None) for key, lead in leads.items()}

    def _secret(self, relation: Relation) -> bool:
        """Whether the current identity may not see the column that leads there."""
        holder = self if relation.kind == "belongs_to" else self.registry.actions[relation.target]
        return not relation.join and relation.column in holder.hidden()


def _entry(shown: Mapping[str, str], values: Sequence[Any]) -> AuditEntry:
    """An entry of the statement `log`. shown: the fields that it may name, with their types."""
    *entry, changes, name, email = values  # in the order of the statement
    named = {n: [_plain(shown[n], v) for v in pair] for n, pair in changes.items() if n in shown}
    return AuditEntry(*(*entry, named, name, email))


def _plain(kind: str, value: Any) -> Any:
    """The value as the resource's to_json spells it: PostgreSQL leaves out the last zeros of a
    second. What is there from a time when the field had another type stays.
    """
    try:
        return iso_utc(datetime.fromisoformat(value)) if kind == "datetime" else value
    except (TypeError, ValueError):
        return value
