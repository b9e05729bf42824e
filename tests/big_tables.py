"""`make bigtables`: every kind of list of large tables, with its time and its work.

    python tests/big_tables.py [--rows 20000000] [--runs 5] [--only TEXT]

Two resources with the same fields, one of them of tenants, with a trigram index and a quarter as
large, are filled by SQL. `kinds` has every list that a client can request: sorts and positions,
filters with frequent, rare and missing values, searches, related rows, deleted rows. Each is a call
of the actions, so a list is also planned as in an application: frequent requests come first, and
their plan may stay for the rare ones. PostgreSQL's auto_explain reports the work of the plans that
ran.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import psycopg
from forge_min import db
from forge_min.actions import LAST, ListQuery, Registry
from forge_min.actions.lists.cursors import Cursors
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.errors import BadRequest, ForgeError
from forge_min.generate import generate, scaffold_resource
from forge_min.migrations import diff
from forge_min.parse import parse_project

from wide_project import importable

BOUND = 50.0  # milliseconds
# Rows or buffers that a list below the bound may read: 20,000 buffers in no order take about 50 ms.
MOST_ROWS, MOST_BUFFERS = 60_000, 25_000
PATIENCE = 2000.0  # milliseconds after which a list is not repeated
TIMEOUT = 5.0  # seconds, the default of database.read_timeout
LARGE, SMALL = UUID(int=1), UUID(int=2)  # tenants: of nearly all rows, and of one in 10,000
PARTNERS = 1000
START = datetime(2020, 1, 1, tzinfo=UTC)
PARTNER = """from forge_min import schema

schema.define(
    "{partner}",
    schema.string("name", required=True, max_len=80, filterable=True, sortable=True),
    schema.enum("size", ["large", "usual"], required=True, filterable=True),{scope}
)
"""
INVOICE = """from forge_min import schema

schema.define(
    "{name}",
    schema.string(
        "title", required=True, max_len=80, searchable={searchable}, filterable=True, sortable=True
    ),
    schema.enum(
        "status", ["paid", "open", "disputed", "lost"], required=True, default="open",
        filterable=True, sortable=True,
    ),
    schema.bool("urgent", required=True, default=False, filterable=True),
    schema.bool("archived", required=True, default=False, filterable=True),
    schema.datetime("due_at", required=True, filterable=True, sortable=True),
    schema.decimal("amount", precision=(12, 2), required=True, filterable=True, sortable=True),
    schema.int("weight", filterable=True, sortable=True),
    schema.array("tags", of="string", filterable=True),
    schema.belongs_to("{partner}", name="partner", required=True),
    schema.timestamps(),
    schema.soft_delete(),{scope}
)
"""
TENANT = "\n    schema.tenant_scoped(),"
SCHEMAS = {
    "customer": PARTNER.format(partner="Customer", scope=""),
    "invoice": INVOICE.format(name="Invoice", partner="Customer", searchable=True, scope=""),
    "client": PARTNER.format(partner="Client", scope=TENANT),
    "bill": INVOICE.format(name="Bill", partner="Client", searchable='"substring"', scope=TENANT),
}
# Row n of as many as `rows`; `mixed` is a number below 1,000,003 in no order. Keys and created_at
# ascend, as in an application; the oldest rows are archived. One row in two has the word blue, one
# in 500 teal, ten have zebra.
ROWS = """
insert into {table} (id, {tenant_id} title, status, urgent, archived, due_at, amount, weight, tags,
  partner_id, created_at, updated_at, deleted_at)
select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, {tenant}
  lpad(to_hex(mixed), 5, '0') || to_hex(n) || case when n % 2 = 0 then ' blue' else ' red' end
    || case when n % 500 = 3 then ' teal' else '' end
    || case when n % ({rows} / 10) = 7 then ' zebra' else '' end,
  case when n % ({rows} / 20) = 9 then 'disputed' when n % 97 = 0 then 'open' else 'paid' end,
  n % 1000 = 1, n <= {rows} / 20,
  timestamptz '2020-01-01Z' + mixed * interval '1 minute',
  n * 7919 % 1000003 / 100.0,
  case when n % 10 = 4 then null when n % ({rows} / 5) = 11 then 5000 else mixed % 100 end,
  case when n % 2 = 0 then array['even'] else array['odd'] end
    || case when n % 1000 = 5 then array['gift'] else '{{}}' end,
  md5(case when {small} then 'small' when n % 5 < 2 then '1' when n % ({rows} / 5) = 13 then '2'
    else (3 + mixed % 997)::text end)::uuid,
  timestamptz '2020-01-01Z' + n * interval '10 s',
  timestamptz '2020-01-01Z' + mixed * interval '1 s',
  case when {deleted} then timestamptz '2026-01-01Z' end
from (select n, n * 2654435761 % 1000003 as mixed from generate_series(1, {rows}::bigint) n) numbers
"""
PARTNER_ROWS = """
insert into {table} ({tenant_id} id, name, size)
select {tenant} md5(case when n = 0 then 'small' else n::text end)::uuid, 'partner ' || n,
  case when n < 3 then 'large' else 'usual' end
from generate_series({first}, {partners}) n
"""
TENANT_OF = f"case when {{small}} then '{SMALL}' else '{LARGE}' end::uuid,"
SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "log_min_messages": "error",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "20GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
}
CONSTRAINTS = """
select quote_ident(conname), pg_get_constraintdef(oid) from pg_constraint
where conrelid = %s::regclass and contype in ('p', 'u', 'f') order by contype <> 'p', contype <> 'u'
"""
INDEXES = """
select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index
where indrelid = %s::regclass
  and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))
"""
PARTNER_IDS = {n: UUID(hashlib.md5(str(n).encode()).hexdigest()) for n in range(4)}


@dataclass
class Result:
    """The results of the runs of a list.

    refused: the code of its error, or "".
    rows, buffers: visited by the plans of one call, in memory or on disk.
    """

    times: list[float] = field(default_factory=list)
    refused: str = ""
    rows: int = 0
    buffers: int = 0

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.times)


@dataclass(frozen=True)
class Kind:
    """One kind of list.

    cursor: the start of the page: "", "last", "middle", "before" (the middle, backwards), "null"
        (in the rows without a weight), "back" (from the second page to the first one), "end" (to
        the last page from the one before it).
    usual: a frequent request, for which the plan of a prepared statement is made.
    """

    name: str
    topic: str
    query: ListQuery
    tenant: UUID | None = None
    cursor: str = ""
    usual: bool = False


class BigTables:
    """The actions of the filled resources."""

    def __init__(self, url: str, rows: int) -> None:
        from gen.registry import register

        self.rows = rows
        self.registry = Registry(db.Database(url, patience=60.0), {}, secret=b"of big tables")
        register(self.registry, "")
        self._plans: list[Mapping[str, Any]] = []

    def close(self) -> None:
        """Close the connections."""
        self.registry.database.close()

    def run(self, kind: Kind, runs: int = 1) -> Result:
        """Request a list `runs` times, fewer if that takes seconds, and set its times."""
        result = Result()
        with as_identity(Identity("big", tenant=kind.tenant)):
            cursor = self._cursor(kind)
            for _ in range(runs):
                began = time.perf_counter()
                try:
                    with reading(TIMEOUT):
                        self._list(kind, cursor)
                except ForgeError as err:
                    if err.code not in ("F608", "F642", "F650"):
                        raise
                    result.refused = err.code
                result.times.append((time.perf_counter() - began) * 1000)
                if result.refused or sum(result.times) > PATIENCE:
                    break
        return result

    def work(self, kind: Kind) -> Result:
        """Request a list once, with a time limit of an hour, and count its rows and buffers."""
        result = Result()
        with as_identity(Identity("big", tenant=kind.tenant)), reading(3600.0):
            cursor = self._cursor(kind)
            self._explain(True)
            try:
                self._list(kind, cursor)
            except BadRequest as err:
                result.refused = err.code
            self._explain(False)
        for plan in self._plans:
            result.buffers += plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
            result.rows += visited(plan)
        return result

    def _list(self, kind: Kind, cursor: str | None) -> None:
        actions = self.registry.actions[kind.topic]
        page = actions.list(replace(kind.query, cursor=cursor))
        actions.related(page.rows, kind.query.include)

    def _explain(self, on: bool) -> None:
        conn = self.registry.database.connection()  # a new one after a cancelled read
        if on:
            self._plans = []
            conn.add_notice_handler(self._note)
        else:
            conn.remove_notice_handler(self._note)
        conn.execute(f"set auto_explain.log_min_duration = {0 if on else -1}")

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        _, _, plan = (notice.message_primary or "").partition("plan:\n")
        if plan:
            self._plans.append(json.loads(plan)["Plan"])

    def _cursor(self, kind: Kind) -> str | None:
        """The cursor of a kind; the middle of the table is somewhere in other orders."""
        actions = self.registry.actions[kind.topic]
        if kind.cursor in ("", "last"):
            return LAST if kind.cursor else None
        if kind.cursor in ("back", "end"):
            return self._neighbour(kind, actions)
        number = rows_of(kind.topic, self.rows) // 20_000 * 10_000
        number += 4 if kind.cursor == "null" else 2
        number += 75 if kind.tenant == SMALL else 0
        row = actions.get(UUID(f"01900000-0000-7000-8000-{number:012x}"))
        values = [*(column.value_of(row) for column in actions.resource.columns), 0.5]
        cursors = Cursors(actions.resource, kind.query, kind.tenant, self.registry.secret)
        return cursors.write(values, kind.cursor == "before")

    def _neighbour(self, kind: Kind, actions: Any) -> str | None:
        """The cursor from a page to the first or last one; None if there is only one page."""
        back = kind.cursor == "back"
        with suppress(ForgeError), reading(TIMEOUT):
            page = actions.list(replace(kind.query, cursor=None if back else LAST))
            cursor = page.next if back else page.prev
            if cursor is not None:
                page = actions.list(replace(kind.query, cursor=cursor))
                return cast("str | None", page.prev if back else page.next)
        return None


def visited(plan: Mapping[str, Any]) -> int:
    """Return the rows that the scans of a plan have read, with those that a filter removed."""
    rows = 0.0
    if "Scan" in plan["Node Type"] and ("Relation Name" in plan or "Index Name" in plan):
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = plan.get("Actual Rows", 0) + sum(plan.get(name, 0) for name in removed)
    return round(rows * plan.get("Actual Loops", 1)) + sum(map(visited, plan.get("Plans", ())))


@contextmanager
def reading(seconds: float) -> Iterator[None]:
    """Cancel reads after so many seconds, as a request does."""
    token = db.read_timeout.set(seconds)
    try:
        yield
    finally:
        db.read_timeout.reset(token)


# -- the lists -------------------------------------------------------------------------------------

SORTS = ("id", "title", "status", "due_at", "amount", "weight", "created_at", "updated_at")
ORDERS = (
    "",
    *(sign + name for name in SORTS for sign in ("", "-")),
    "status,-due_at",
    "-weight,amount",
)
# Orders of lists with conditions.
COMBINED = ("", "due_at", "-due_at", "-weight", "title", "created_at", "status,-id")
POSITIONS = ("", "middle", "before", "last")
LATE, NEVER = START + timedelta(days=3650), START - timedelta(days=1)
# name → conditions with a frequent value first, then those with rare and missing values
FILTERS: dict[str, list[dict[str, Any]]] = {
    "status": [{"status": "paid"}, {"status": "disputed"}, {"status": "lost"}],
    "status[ne]": [{"status[ne]": "open"}, {"status[ne]": "paid"}],
    "status[in]": [{"status[in]": ["paid", "lost"]}, {"status[in]": ["disputed", "lost"]}],
    "urgent": [{"urgent": False}, {"urgent": True}],
    "archived": [{"archived": False}, {"archived": True}],
    "amount": [{"amount": Decimal("1234.56")}, {"amount": Decimal(20000)}],
    "amount[gt]": [{"amount[gt]": Decimal(n)} for n in (1, 5000, 10000, 20000)],
    "amount[lte]": [{"amount[lte]": Decimal(n)} for n in (9999, 5000, 1, -1)],
    "amount, a range": [
        {"amount[gte]": Decimal(low), "amount[lt]": Decimal(high)}
        for low, high in ((1, 9999), (500, 600), (500, "500.05"), (600, 500))
    ],
    "weight": [{"weight": n} for n in (50, 5000, 7000)],
    "weight[ne]": [{"weight[ne]": 50}],
    "weight[in]": [{"weight[in]": [50, 51]}, {"weight[in]": [5000, 7000]}],
    "weight[gte]": [{"weight[gte]": n} for n in (0, 99, 5000, 7000)],
    "weight[is_null]": [{"weight[is_null]": True}, {"weight[is_null]": False}],
    "title": [{"title": "zzz"}],
    "title[ne]": [{"title[ne]": "zzz"}],
    "title[contains]": [
        {"title[contains]": text} for text in ("blue", "teal", "zebra", "unicorn", "0a0a", "bl")
    ],
    "title[contains], status": [
        {"title[contains]": "blue", "status": status} for status in ("paid", "disputed")
    ],
    "title[gte]": [{"title[gte]": text} for text in ("1", "8", "f4239", "zzz")],
    "due_at[gte]": [{"due_at[gte]": at} for at in (NEVER, START + timedelta(days=694), LATE)],
    "due_at[lt]": [{"due_at[lt]": at} for at in (LATE, START + timedelta(hours=1), NEVER)],
    "created_at[gte]": [{"created_at[gte]": at} for at in (NEVER, LATE)],
    "created_at[lt]": [{"created_at[lt]": at} for at in (LATE, START + timedelta(hours=1), NEVER)],
    "tags[contains]": [{"tags[contains]": tag} for tag in ("even", "gift", "none")],
    "id[in]": [{"id[in]": [UUID(int=n) for n in range(50)]}],
    "partner_id": [{"partner_id": PARTNER_IDS[n]} for n in (1, 3, 2, 0)],
    "partner.name": [{"partner.name": f"partner {n}"} for n in (3, 1, 2, 0)],
    "partner.name[ne]": [{"partner.name[ne]": "partner 3"}],
    "partner.name[gte]": [{"partner.name[gte]": text} for text in ("partner 99", "partner", "x")],
    "partner.size": [{"partner.size": "usual"}, {"partner.size": "large"}],
    "two": [
        {"status": "paid", "weight": 50},
        {"status": "open", "weight": 50},
        {"status": "disputed", "urgent": True},
        {"status": "paid", "urgent": True, "amount[gt]": Decimal(9990)},
    ],
}  # fmt: skip
# Combined with each order.
ORDERED = (
    "status",
    "amount[gt]",
    "weight",
    "due_at[lt]",
    "tags[contains]",
    "partner_id",
    "partner.name",
    "two",
)
WORDS = {
    "frequent": "blue",
    "some": "teal",
    "rare": "zebra",
    "missing": "unicorn",
    "phrase": '"blue teal"',
}
WORDS |= {
    "part": "0a0a",
    "letter": "b",
    "digit": "1",
    "without": "blue -teal",
    "either": "teal or zebra",
}


def every_kind(registry: Registry) -> Iterator[Kind]:
    """Yield every kind of list of both resources."""
    for topic, tenant in (("invoices", None), ("bills", LARGE), ("bills", SMALL)):
        yield from kinds(registry, topic, tenant)


def kinds(registry: Registry, topic: str, tenant: UUID | None) -> Iterator[Kind]:
    """Return every kind of list of a resource."""
    resource = registry.actions[topic].resource
    label = topic + (f" of tenant {tenant.int}" if tenant else "")

    def kind(name: str, filters: Mapping[str, Any] = MappingProxyType({}), **options: Any) -> Kind:
        names = ("sort", "q", "page", "limit")
        query = ListQuery.of(resource, filters, **{n: options[n] for n in names if n in options})
        more = ("include", "counted", "deleted")
        query = replace(query, **{n: options[n] for n in more if n in options})
        own = {n: options[n] for n in ("cursor", "usual") if n in options}
        return Kind(f"{label}: {name}", topic, query, tenant, **own)

    for order in ORDERS if tenant != SMALL else COMBINED:
        for at in (*POSITIONS, *["null"] * ("weight" in order and tenant != SMALL)):
            yield kind(f"sort={order} {at}", sort=order, cursor=at)
        for n in (1, 100):
            yield kind(f"sort={order} page={n}", sort=order, page=n, limit=100)
        for at in ("", "middle", "last"):
            yield kind(f"deleted, sort={order} {at}", sort=order, cursor=at, deleted=True)
    for order in COMBINED:
        for name, words in WORDS.items():
            yield kind(f"q, {name}, sort={order}", sort=order, q=words)
    yield kind("include", include=("partner",))
    yield kind("counted", counted=True)
    for name, words in WORDS.items():
        yield kind(f"q, {name}, counted", q=words, counted=True)
        yield kind(f"q, {name}, status=paid", {"status": "paid"}, q=words)
        yield kind(f"q, {name}, status=disputed", {"status": "disputed"}, q=words)
    for name, values in FILTERS.items():
        for n, filters in enumerate(values):
            text = ", ".join(f"{key}={value}" for key, value in filters.items())[:60]
            for order in COMBINED if name in ORDERED else ("",):
                yield kind(f"{text}, sort={order}", filters, sort=order, usual=n == 0)
                yield kind(f"{text}, deleted, sort={order}", filters, sort=order, deleted=True)
            for at in ("back", "end"):
                yield kind(f"{text}, sort=-weight, {at}", filters, sort="-weight", cursor=at)
            for at in (*POSITIONS[1:], "back", "end"):
                yield kind(f"{text}, {at}", filters, cursor=at, usual=n == 0)
            yield kind(f"{text}, counted", filters, counted=True, usual=n == 0)
            yield kind(f"{text}, page=100", filters, page=100, limit=100, usual=n == 0)


# -- the tables ------------------------------------------------------------------------------------


@contextmanager
def project(folder: Path) -> Iterator[tuple[Path, EmbeddedServer]]:
    """A generated project and a server with its empty tables."""
    root = folder / "project"
    if not root.exists():
        for name, text in SCHEMAS.items():
            path = root / "resources" / name / "schema.py"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        resources = parse_project(root).resources
        scaffold_resource(root, *resources)
        generate(root, resources)
        first = diff(root, resources, [])
        assert first is not None
        first.write()
    with EmbeddedServer(folder / "pg", settings=SETTINGS) as server:
        with db.connect(server.owner_url) as conn:
            files = db.read_migrations(root / "migrations", "app")
            db.migrate(conn, [*db.FORGE_MIGRATIONS, *files])
            db.ensure_app_role(conn, server.app_role, password=None)
        with db.connect(server.admin_url) as conn:
            name = "auto_explain.log_min_duration"
            conn.execute(f"grant set on parameter {name} to {server.app_role}")
        yield root, server


def rows_of(topic: str, rows: int) -> int:
    """Return the number of rows of a table: the bills are a quarter of the invoices."""
    return rows // 4 if topic == "bills" else rows


def fill(server: EmbeddedServer, rows: int, *topics: str) -> None:
    """Fill the empty tables of these topics."""
    with db.connect(server.owner_url) as conn:
        for topic in topics:
            if conn.execute(f"select from {topic} limit 1").fetchone() is not None:
                continue
            scoped, partners = topic == "bills", "clients" if topic == "bills" else "customers"
            names: dict[str, Any] = {
                "rows": rows_of(topic, rows),
                "small": "false",
                "tenant_id": "",
                "tenant": "",
            }
            # Of the invoices one in a hundred is deleted, of the bills ten.
            names["deleted"] = f"n % ({names['rows']} / 10) = 50" if scoped else "n % 100 = 50"
            if scoped:
                names |= {"small": "n % 10000 = 77", "tenant_id": "tenant_id,"}
                names["tenant"] = TENANT_OF.format(small=names["small"])
            own = names | {"first": int(not scoped), "partners": PARTNERS}
            if scoped:
                own["tenant"] = TENANT_OF.format(small="n = 0")
            conn.execute(PARTNER_ROWS.format(table=partners, **own))
            with indexes_dropped(conn, topic):
                conn.execute(ROWS.format(table=topic, **names))
            conn.execute(f"vacuum (analyze) {topic}")
            conn.execute(f"vacuum (analyze) {partners}")


@contextmanager
def indexes_dropped(conn: db.Connection, table: str) -> Iterator[None]:
    """Drop the constraints and indexes of a table, and create them again at the end."""
    constraints = conn.execute(CONSTRAINTS, [table]).fetchall()
    indexes = conn.execute(INDEXES, [table]).fetchall()
    for name, _ in constraints:
        conn.execute(f"alter table {table} drop constraint {name}")
    for name, _ in indexes:
        conn.execute(f"drop index {name}")
    yield
    for name, definition in constraints:
        conn.execute(f"alter table {table} add constraint {name} {definition}")
    for _, definition in indexes:
        conn.execute(definition)


def main() -> None:
    """Measure, and print a line for each kind of list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--topics", default="invoices,bills")
    parser.add_argument("--only", default="", help="a regular expression of names of lists")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the tables there for the next run")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.folder or stack.enter_context(TemporaryDirectory(prefix="forge-big-"))
        with project(Path(folder)) as (root, server):
            began = time.monotonic()
            topics = given.topics.split(",")
            fill(server, given.rows, *topics)
            print(f"{given.rows} rows in {time.monotonic() - began:.0f} s", flush=True)
            stack.enter_context(importable(root))
            tables = BigTables(server.app_url, given.rows)
            stack.callback(tables.close)
            results = {}
            for kind in every_kind(tables.registry):
                if kind.topic in topics and re.search(given.only, kind.name):
                    result = tables.run(kind, 12 if kind.usual else given.runs)
                    results[kind.name] = result
                    print(line(kind.name, result), flush=True)
    if given.json:
        given.json.write_text(json.dumps({n: asdict(r) for n, r in results.items()}, indent=1))


def line(name: str, result: Result) -> str:
    """Return one line of the table."""
    verdict = f"refused {result.refused}" if result.refused else "ok"
    if not result.refused and result.median > BOUND:
        verdict = "SLOW"
    return f"{result.median:9.1f} {max(result.times):9.1f}  {verdict:12} {name}"


if __name__ == "__main__":
    main()
