"""The reading actions of a resource: get, list, stream, related rows, the log of changes."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, cast

from .. import db
from ..auth import current_identity
from ..errors import BadRequest, ForgeError, NotFound, ReadTimeout
from ..fanout import iso_utc, make_rows
from ..i18n import text
from . import aggregate as aggregates
from . import lists
from . import query as queries
from .aggregate import MAX_GROUPS, AggregateQuery
from .base import BaseActions, Conn, Rows, load_frames, scope
from .order import Position
from .query import DEFAULT_LIMIT, LISTS, ListQuery, join
from .resource import Page, R, Relation, quote
from .values import TYPES, to_text

log = logging.getLogger("forge_min.actions")
_AUDIT = load_frames("audit.sql")
_SIZE = LISTS["rows"].template
_AUDIT_SIZES = ("octet_length(changes::text)",)
List = list  # inside the class, `list` is the action
Group = dict[str, Any]
# Rows of a large table. PERF: the lists of others are planned once: planning takes a fifth of their
# time (benchmarks/http, list).
LARGE = 100_000
BATCH = 1000  # rows of one statement of `stream`
SLOW = 1.0  # seconds of a list after which the index that it lacks is logged
_SPELLED: Mapping[str, Callable[[Any], Any]] = {"datetime": iso_utc, "time": str, "float": float}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a row.

    key: of the row, as text.
    operation: create, update, delete or restore.
    actor: the identity's user, or "".
    reason: of a transition, or "".
    changes: field → [before, after] as in the JSON of the resource; None means "no value".
    actor_name, actor_email: of a user of this application, as they are now, for readers with a
        declared permission "audit"; else "".
    """

    id: int
    key: str
    operation: str
    version: int
    actor: str
    request_id: str
    at: datetime
    changes: dict[str, list[Any]]
    reason: str = ""
    actor_name: str = ""
    actor_email: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        entry = asdict(self) | {"at": iso_utc(self.at)}
        del entry["key"]
        return entry


class ReadActions(BaseActions[R]):
    """The reading actions of one resource.

    Every method needs the permission "read" (`audit_log` needs "audit"), and sees only rows of this
    tenant that are not deleted.

    Every method may raise Unauthenticated, Forbidden and the errors of `db.translate`.
    """

    _size = _size_due = 0.0  # rows of the table, and when they are looked at again

    def get(self, key: Any, *, conn: Conn = None) -> R:
        """Return a row. Raises NotFound."""
        self.allow("read")
        return self._row(self._find(key, conn))

    def list(self, query: ListQuery | None = None, *, conn: Conn = None) -> Page[R]:
        """Return one page, by cursor or with a total, in one round trip.

        By cursor, it ends before it is larger than `limits.response`, but has at least one row.
        With a total, a larger page raises BadRequest F646.

        Raises BadRequest for a cursor of another list, an unknown relation to include, an unknown
        condition on a related row, and in a request F650 for a `contains` that is too slow.
        """
        self.allow("read")
        query = self._bounded(query or ListQuery(), conn)
        self.relations(query.include)
        if query.page is not None:
            results, has_more = self._read(query, None, conn)
            if has_more and len(results) < query.limit:
                raise self.limits.too_large()
            return self._numbered(query, results, conn)
        cursors = lists.Cursors(self.resource, query, self.tenant(), self.registry.secret)
        at = None
        if query.cursor is not None:
            at = cursors.read(query.cursor)
        results, has_more = self._read(query, at, conn)
        if at is not None and at.backwards:
            results.reverse()
            has_next = bool(results) and query.cursor != lists.LAST
            has_prev = has_more
        else:
            has_next = has_more
            has_prev = at is not None
        next = prev = None
        if has_next:
            next = cursors.write(results[-1], False)
        if has_prev and results:
            prev = cursors.write(results[0], True)
        page = Page(self._rows(results), next, prev)
        if query.counted:
            return self._counted(page, query, results, conn)
        return page

    def stream(self, query: ListQuery | None = None, *, conn: Conn = None) -> Iterator[R]:
        """Return every row that `query` matches, in its order; limit, page and cursor are ignored.

        Rows are read in batches, each in a statement of its own: no transaction stays open, and a
        row that is written in the meantime is missing or included once.
        """
        return chain.from_iterable(self.batches(query, conn=conn))

    def batches(self, query: ListQuery | None = None, *, conn: Conn = None) -> Iterator[List[R]]:
        """Return the rows of `stream` in lists as they are read.

        A list has up to 1,000 rows. It is not larger than `limits.response` unless it has one row.
        """
        self.allow("read")
        query = self._bounded(query or ListQuery(), conn)
        return self._streamed(replace(query, limit=BATCH, page=None), conn)

    def aggregate(
        self, query: AggregateQuery, *, operation: str = "read", conn: Conn = None
    ) -> List[Group]:
        """Return one dict for each group, with the names in the query as keys.

        A period is the date on which it begins.

        operation: the one that the identity must be permitted.

        Raises BadRequest for unknown names, and F645 for more than 1,000 groups or
        `limits.response` bytes.
        """
        self.allow(operation)
        query = replace(query, rows=self._bounded(query.rows, conn))
        sql, params = aggregates.statement(self.resource, query)
        sizes = [f"octet_length(k{n}::text)" for n in range(1, len(query.group) + 1)]
        rows, has_more = self._run_page(conn, sql, params, MAX_GROUPS, sizes)
        if has_more:
            message = text("more than {max} groups: filter, or group by less", max=MAX_GROUPS)
            raise BadRequest(message, code="F645")
        names = [*query.group, *query.measures]
        groups = [dict(zip(names, row)) for row in rows]
        # PostgreSQL's sum of bigint is numeric.
        sums = [f"sum({c.name})" for c in self.resource.columns if c.type == "bigint"]
        for name in set(query.measures).intersection(sums):
            for group in groups:
                if group[name] is not None:
                    group[name] = int(group[name])
        return groups

    def aggregate_query(self, params: queries.QueryString) -> AggregateQuery:
        """Read the query string of an aggregate. Raises BadRequest."""
        return AggregateQuery.parse(self.resource, params, self.limits.conditions)

    def report(self, name: str, *, zone: str = "UTC", conn: Conn = None) -> List[Group]:
        """Return the groups of a report, as `aggregate` does, by the permission of the report.

        Raises NotFound for an unknown report.
        """
        report = self.resource.reports.get(name)
        if report is None:
            raise NotFound(text("nothing is at this address"))
        rows = ListQuery.of(self.resource, report.filters)
        query = AggregateQuery(rows, report.group, report.measures, (), zone)
        return self.aggregate(query, operation=self.report_operation(name), conn=conn)

    def report_operation(self, name: str) -> str:
        """Return the operation that protects a report: its own, if declared, else "read"."""
        return name if name in self.resource.permissions else "read"

    def related(
        self, rows: Sequence[R], names: Iterable[str], *, conn: Conn = None
    ) -> dict[str, dict[Any, Any]]:
        """Return the rows to which relations of `rows` lead.

        names: of the relations. The permission and the hidden columns are those of their targets.

        Returns {name: {key of a row: related}}: a row or None; for has_many and many_to_many the
        newest 100 rows. There is one query per relation. Raises BadRequest for an unknown relation.
        """
        return {r.name: self._related(r, rows, conn) for r in self.relations(names)}

    def relations(self, names: Iterable[str]) -> List[Relation]:
        """Return the relations of these names, each once.

        Raises BadRequest with the allowed names for an unknown one, and for a relation if its key
        is hidden from the current identity.
        """
        unique_names = dict.fromkeys(names)
        if not unique_names:
            return []
        allowed = {r.name: r for r in self.resource.relations if not self._is_hidden(r)}
        for name in unique_names:
            if name not in allowed:
                message = text(
                    "{name} cannot be included; relations: {all}", name=name, all=join(allowed)
                )
                raise BadRequest(message)
        return [allowed[name] for name in unique_names]

    def lists_of_keys(self) -> List[Relation]:
        """Return the many_to_many relations with targets that the current identity may read."""
        targets = self.registry.actions
        return [r for r in self.resource.relations if r.field and targets[r.target].may("read")]

    def linked(self, key: Any, relation: Relation, *, conn: Conn = None) -> List[Any]:
        """Return the keys of the targets of a many_to_many relation, also of deleted ones."""
        self.allow("read")
        target = quote(relation.target_column)
        is_linked = f"{quote(relation.column)} = %(forge_key)s"
        where = " and ".join([is_linked, *scope(self.resource, "", live=False)])
        sql = f"select {target} from {quote(relation.join)} where {where} order by 1"
        return [target for (target,) in self._run(conn, sql, {"forge_key": key})]

    def shown(self) -> dict[str, str]:
        """Return the fields that the current identity may see, with their types.

        The type of the keys of a many_to_many is "many".
        """
        hidden = self.hidden()
        columns = {c.name: c.type for c in self.resource.columns if c.name not in hidden}
        return columns | {link.field: "many" for link in self.lists_of_keys()}

    def to_json_many(self, rows: Sequence[R], include: Iterable[str] = ()) -> List[dict[str, Any]]:
        """Return the rows as JSON objects, with related rows under the names of the relations.

        include: names of relations.

        Raises as `related`.
        """
        objects = self._to_json(rows)
        for relation in self.relations(include):
            to_json = self.registry.actions[relation.target].to_json
            related = self._related(relation, rows, None)
            for row, item in zip(rows, objects, strict=True):
                value = related[self.key_of(row)]
                if isinstance(value, list):
                    value = [to_json(target) for target in value]
                elif value is not None:
                    value = to_json(value)
                item[relation.name] = value
        return objects

    def audit_log(
        self, key: Any, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, conn: Conn = None
    ) -> Page[AuditEntry]:
        """Return the changes of a row, the newest first; also of a deleted row.

        Entries have the names and emails of users if the resource declares the permission "audit"
        and the current identity is not anonymous.

        Raises NotFound if neither the row nor a change exists, BadRequest for a cursor of another
        log.
        """
        self.allow("audit")
        id = to_text(key)
        secret = self.registry.secret
        log_scope = f"{self.resource.topic} {self.tenant()} audit {id}"
        before = None
        if cursor is not None:
            (before,), _ = lists.read_cursor(secret, log_scope, cursor, tuple)
        params = {"forge_id": id, "forge_before": before}
        entries, has_more = self._entries("resource_id = %(forge_id)s", params, limit, conn)
        if not entries and cursor is None:
            self._find(key, conn)
        if not has_more:
            return Page(entries)
        last_id = str(entries[-1].id)
        return Page(entries, lists.write_cursor(secret, log_scope, [last_id], False))

    def recent_changes(self, limit: int, *, conn: Conn = None) -> List[AuditEntry]:
        """Return the newest changes of all rows, the newest first, as `audit_log` does of one."""
        self.allow("audit")
        return self._entries("true", {"forge_before": None}, limit, conn)[0]

    # -- inside ------------------------------------------------------------------------------------

    def _entries(
        self, row: str, params: dict[str, Any], limit: int, conn: Conn
    ) -> tuple[List[AuditEntry], bool]:
        """The entries of the history that fulfil a condition, and whether there are more."""
        tenant = "tenant_id is null"
        if self.resource.tenant_scoped:
            tenant = "tenant_id = %(forge_tenant)s"
        identity = current_identity()
        named = identity.system
        if "audit" in self.resource.permissions and identity.user:
            named = True
        params["forge_topic"] = self.resource.topic
        params["forge_named"] = named
        params["forge_limit"] = limit + 1
        sql = _AUDIT["log"].substitute(tenant=tenant, row=row)
        rows, has_more = self._run_page(conn, sql, params, limit, _AUDIT_SIZES)
        types = self.shown()
        return [_entry(types, values) for values in rows], has_more

    def _bounded(self, query: ListQuery, conn: Conn) -> ListQuery:
        """The result of `_with_related_filters`. Raises BadRequest F650 for a slow filter.

        Only reads with a time limit are refused: those of requests, not of jobs and commands.
        """
        query = self._with_related_filters(query)
        if query.filters and db.read_timeout.get():
            lists.check_contains(self.resource, query, partial(self._run, conn))
        return query

    def _with_related_filters(self, query: ListQuery) -> ListQuery:
        """The query with its conditions on related rows as filters. Raises BadRequest."""
        if not query.related:
            return query
        targets = {}
        for relation in self.resource.relations:
            target = self.registry.actions[relation.target]
            # A list of rows without a tenant runs in no tenant, so it sees no tenant's rows.
            in_reach = self.resource.tenant_scoped or not target.resource.tenant_scoped
            single = relation.kind not in lists.MANY and not self._is_hidden(relation)
            if single and in_reach and target.may("read"):
                targets[relation.name] = relation, target.resource
        return lists.with_related_filters(query, self.resource, targets)

    def _rows(self, results: Rows) -> List[R]:
        """Rows of the results of `query.statement`."""
        hidden = self.hidden()
        if not hidden and self._attributes:
            return make_rows(cast("type[R]", self.resource.row), self._attributes, results)
        width = len(self.resource.columns)
        return [self._row(values[:width], hidden) for values in results]

    def _numbered(self, query: ListQuery, results: Rows, conn: Conn) -> Page[R]:
        if results or query.page == 1:
            return self._counted(Page(self._rows(results)), query, results, conn)
        first = self.list(replace(query, limit=1, page=1), conn=conn)
        return Page([], total=first.total)

    def _counted(self, page: Page[R], query: ListQuery, results: Rows, conn: Conn) -> Page[R]:
        """Return the page with its total: the number of rows, or an estimate if there are many."""
        if not results:
            return page._replace(total=0)
        total = results[0][-1]
        if total <= queries.MAX_COUNT:
            return page._replace(total=total)
        # SAFETY: the estimate comes from the rows of all tenants. With conditions, a client could
        # find out the values of others by it.
        if not self.resource.tenant_scoped or not (query.filters or query.q):
            ((plan,),) = self._run(conn, *queries.plan(self.resource, query))
            total = max(total, plan[0]["Plan"]["Plan Rows"])
        return page._replace(total=total, is_estimate=True)

    def _read(self, query: ListQuery, at: Position | None, conn: Conn) -> tuple[Rows, bool]:
        if self.registry.advises and len(query.sorts) > 1:
            # Whether other lists need an index depends on their rows.
            shape = lists.shape_of(self.resource, query)
            self._warn(shape, shape._replace(equal=()))
        sql, params = queries.statement(self.resource, query, at, self._is_large(query, conn))
        began = time.monotonic()
        try:
            page = self._run_page(conn, sql, params, query.limit)
        except ReadTimeout as err:
            with suppress(ForgeError):  # the transaction of `conn` may have failed
                err.hint = self._advise(lists.shape_of(self.resource, query))
            raise
        if time.monotonic() - began > SLOW:
            self._warn(lists.shape_of(self.resource, query))
        return page

    def _warn(self, *shapes: lists.ListShape) -> None:
        """Log the index that a list lacks, once for each of its shapes."""
        if shapes[0] not in self._advised:
            self._advised.add(shapes[0])
            self._advise(*shapes)

    def _advise(self, *shapes: lists.ListShape) -> str:
        """Log and return how to add the index of the first shape, "" if an index serves one."""
        indexes = self._run(None, lists.INDEXES, {"table": self.resource.table})
        missing = [shape.missing_index(indexes) for shape in shapes]
        if not all(missing):
            return ""
        hint = f"add {missing[0]} to the schema of {self.resource.name}"
        log.warning("no index serves a list of %s; hint: %s", self.resource.topic, hint)
        return hint

    def _is_large(self, query: ListQuery, conn: Conn) -> bool:
        """Return whether a list has conditions, or is of a tenant, and its table is large."""
        if not query.filters and not query.q and not self.resource.tenant_scoped:
            return False
        now = time.monotonic()
        if now >= self._size_due:
            ((self._size,),) = self._run(conn, _SIZE, {"table": self.resource.table})
            self._size_due = now + 60.0
        return self._size >= LARGE

    def _streamed(self, query: ListQuery, conn: Conn) -> Iterator[List[R]]:
        cursors = lists.Cursors(self.resource, query, self.tenant(), self.registry.secret)
        at = None
        while True:
            results, has_more = self._read(query, at, conn)
            # PERF: the database reads all rows of a batch to add their sizes, also those cut off.
            query = replace(query, limit=min(BATCH, 2 * len(results)))
            yield self._rows(results)
            if not has_more:
                return
            at = cursors.at(results[-1])

    def _related(self, relation: Relation, rows: Sequence[R], conn: Conn) -> dict[Any, Any]:
        target = self.registry.actions[relation.target]
        target.allow("read")
        links = {}
        for row in rows:
            key = link = self.key_of(row)
            if relation.kind == "belongs_to":
                link = getattr(row, relation.column)
            links[key] = link
        related = defaultdict(list)
        keys = [link for link in dict.fromkeys(links.values()) if link is not None]
        if keys:
            sql = lists.related_statement(relation, self.resource, target.resource)
            hidden = target.hidden()
            limit = lists.MOST_RELATED * len(keys)
            results, has_more = target._run_page(conn, sql, {"forge_keys": keys}, limit)
            if has_more:
                raise target.limits.too_large()
            for link, *values in results:
                related[link].append(target._row(values, hidden))
        if relation.kind in lists.MANY:
            return {key: related[link] for key, link in links.items()}
        return {key: next(iter(related[link]), None) for key, link in links.items()}

    def _is_hidden(self, relation: Relation) -> bool:
        """Whether the current identity may not see the foreign key of the relation."""
        if relation.join:
            return False
        if relation.kind == "belongs_to":
            return relation.column in self.hidden()
        return relation.column in self.registry.actions[relation.target].hidden()


def _entry(types: Mapping[str, str], values: Sequence[Any]) -> AuditEntry:
    """An entry of the statement `log`.

    types: of the fields that it may name.
    """
    entry = AuditEntry(*values)  # in the order of the statement
    visible = {}
    for name, pair in entry.changes.items():
        if name in types:
            visible[name] = [_plain(types[name], value) for value in pair]
    return replace(entry, changes=visible)


def _plain(kind: str, value: Any) -> Any:
    """The value as the resource's to_json spells it.

    PostgreSQL omits the last zeros of a second, and jsonb the exponent of a number. A value from a
    time when the field had another type stays unchanged.
    """
    if kind not in _SPELLED:
        return value
    try:
        return _SPELLED[kind](TYPES[kind].read(value))
    except ValueError:
        return value
