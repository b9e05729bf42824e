"""The SQL of every action separates tenants by itself: here nothing else does.

The actions run as the owner, whom row-level security does not bind, and the views of a tenant show
the rows of all. Both tenants have the same keys, so a condition that is missing finds, changes or
locks rows of the north.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import (
    Actions,
    AggregateQuery,
    Column,
    DeclaredReport,
    JobHook,
    KeyChanges,
    ListQuery,
    Registry,
    Relation,
    Transition,
)
from forge_min.actions import query as queries
from forge_min.actions.reader import LARGE
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.errors import BadRequest, NotFound
from forge_min.ops.rows import export, references
from forge_min.testing import TestDatabase
from forge_min.testing import fresh_database as make_fresh_database

from workshop import NORTH, SOUTH, VERSION, resource

pytestmark = pytest.mark.db
# The same user in both: nothing but the tenant differs.
IN_NORTH = Identity(user="ann", tenant=NORTH)
IN_SOUTH = Identity(user="ann", tenant=SOUTH)
TENANTS = {"north": IN_NORTH, "south": IN_SOUTH}

TABLES = """
create table folders (
  slug text, tenant_id uuid not null, name text, version bigint not null default 1,
  constraint folders_pkey primary key (tenant_id, slug));
create table papers (
  slug text, tenant_id uuid not null, number text not null, title text not null,
  price integer not null default 0, status text not null default 'draft', folder_id text,
  version bigint not null default 1, deleted_at timestamptz,
  forge_search tsvector generated always as (to_tsvector('simple', title)) stored,
  constraint papers_pkey primary key (tenant_id, slug),
  foreign key (tenant_id, folder_id) references folders (tenant_id, slug) on delete cascade);
create unique index papers_number_key on papers (tenant_id, number) where deleted_at is null;
create table covers (
  slug text, tenant_id uuid not null, color text, paper_id text,
  version bigint not null default 1, constraint covers_pkey primary key (tenant_id, slug),
  foreign key (tenant_id, paper_id) references papers (tenant_id, slug)
    on delete set null (paper_id));
create table tags (
  slug text, tenant_id uuid not null, label text, version bigint not null default 1,
  constraint tags_pkey primary key (tenant_id, slug));
create table papers_tags (
  tenant_id uuid not null, paper_id text not null, tag_id text not null,
  primary key (tenant_id, paper_id, tag_id),
  foreign key (tenant_id, paper_id) references papers (tenant_id, slug) on delete cascade,
  foreign key (tenant_id, tag_id) references tags (tenant_id, slug) on delete cascade);
""" + "".join(
    f"create view {table}_of_tenant as select * from {table};\n"
    for table in ("folders", "papers", "covers", "tags", "papers_tags")
)
SLUG = Column("slug", "slug", nullable=False, filterable=True, unique=True, immutable=True)
shared: Any = partial(resource, tenant_scoped=True, auditable=True)
FOLDERS = shared(
    "Folder",
    "folders",
    (SLUG, Column("name", "string", filterable=True), VERSION),
    lambda c: (c.slug("slug", required=True), c.string("name"), c.unknown()),
    relations=(Relation("papers", "has_many", "papers", "folder_id"),),
)


def check_paper(c: Any) -> None:
    c.slug("slug", required=True)
    c.string("number", required=True)
    c.string("title", required=True)
    c.int("price", required=True, default=0)
    c.enum("status", ("draft", "sent"), default="draft", required=True)
    c.slug("folder_id")
    c.many("tag_ids", "slug")
    c.unknown()


PAPERS = shared(
    "Paper",
    "papers",
    (
        SLUG,
        Column("number", "string", nullable=False, unique=True, filterable=True),
        Column("title", "string", nullable=False, filterable=True, sortable=True),
        Column("price", "int", nullable=False, filterable=True, sortable=True, aggregatable=True),
        Column("status", "enum", nullable=False, immutable=True, choices=("draft", "sent")),
        Column("folder_id", "slug", filterable=True, aggregatable=True),
        VERSION,
        Column("deleted_at", "datetime"),
    ),
    check_paper,
    soft_delete=True,
    searchable=True,
    relations=(
        Relation("folder", "belongs_to", "folders", "folder_id", on_delete="cascade"),
        Relation("cover", "has_one", "covers", "paper_id"),
        Relation(
            "tags", "many_to_many", "tags", "paper_id", "papers_tags", "tag_id", "tag_ids", "slug"
        ),
    ),
    transitions=(Transition("send", "status", {"draft": "sent"}),),
    reports={"prices": DeclaredReport((), ("sum(price)",))},
    after_update=(JobHook("Index", unique=True),),
)
COVERS = shared(
    "Cover",
    "covers",
    (SLUG, Column("color", "string", filterable=True), Column("paper_id", "slug"), VERSION),
    lambda c: (c.slug("slug", required=True), c.string("color"), c.slug("paper_id"), c.unknown()),
    relations=(Relation("paper", "belongs_to", "papers", "paper_id", on_delete="set_null"),),
)
TAGS = shared(
    "Tag",
    "tags",
    (SLUG, Column("label", "string"), VERSION),
    lambda c: (
        c.slug("slug", required=True), c.string("label"), c.many("paper_ids", "slug"), c.unknown()
    ),
    relations=(
        Relation(
            "papers", "many_to_many", "papers", "tag_id", "papers_tags", "paper_id", "paper_ids",
            "slug",
        ),
    ),
)  # fmt: skip
# All that belongs to a tenant. The jobs of a tenant are found by their metadata.
STORED = {
    table: f"select to_jsonb(t) - 'created_at' from {table} t where tenant_id = %s order by 1"
    for table in ("folders", "papers", "covers", "tags", "papers_tags", "forge_audit")
}
STORED["forge_event"] = (
    "select topic, kind, resource_id, version from forge_event where tenant_id = %s order by id"
)
STORED["forge_job"] = (
    "select kind, args ->> 'id' from forge_job where (metadata ->> 'tenant')::uuid = %s order by id"
)


class Archive:
    """Papers of two tenants. Those of the north are not written and not locked by the south."""

    def __init__(self, database: TestDatabase) -> None:
        self.owner = db.connect(database.owner_url)
        self.owner.execute(TABLES)
        # A statement that waits for a lock fails, rather than the test hangs.
        self.owner.execute(f"alter database {database.name} set lock_timeout = '1s'")
        self.database = db.Database(database.owner_url)
        self.registry = Registry(self.database, {}, secret=b"of an archive")
        for each in (FOLDERS, PAPERS, COVERS, TAGS):
            self.registry.add(type(each.name + "Actions", (Actions,), {"resource": each}))
        for name, identity in TENANTS.items():
            with as_identity(identity):
                self._fill(name)

    def __getitem__(self, topic: str) -> Any:
        return self.registry.actions[topic]

    def _fill(self, name: str) -> None:
        """The same keys for both; the north has more rows, and other values."""
        is_north = name == "north"
        price = 1000 if is_north else 1
        self["folders"].create({"slug": "f", "name": f"{name} f"})
        for tag in ("blue", "red"):
            self["tags"].create({"slug": tag, "label": f"{name} {tag}"})
        papers = self["papers"]
        for slug, tags in {
            "a": ["blue", "red"] if is_north else ["red"],
            "b": ["red"] if is_north else [],
            "gone": [],
            **({"z": []} if is_north else {}),
        }.items():
            values = {"slug": slug, "number": f"n-{slug}", "title": f"{name} {slug}"}
            papers.create({**values, "price": price, "folder_id": "f", "tag_ids": tags})
        papers.update("a", {"title": f"{name} a2"})
        papers.delete("gone")
        self["covers"].create({"slug": "c", "color": name, "paper_id": "a"})
        if is_north:
            self["covers"].create({"slug": "d", "color": name, "paper_id": "b"})

    def stored(self, tenant: Identity) -> dict[str, list[Any]]:
        """All rows of a tenant."""
        return {
            name: self.owner.execute(sql, [tenant.tenant]).fetchall()
            for name, sql in STORED.items()
        }

    @contextmanager
    def north_locked(self) -> Iterator[None]:
        """Each row of the north is locked, so that the south fails if it waits for one."""
        with self.owner.transaction():
            for table in ("folders", "papers", "covers", "tags", "papers_tags"):
                sql = f"select from {table} where tenant_id = %s for update"
                self.owner.execute(sql, [NORTH])
            yield

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
        self.owner.close()


@pytest.fixture(scope="module")
def shared_archive(server: EmbeddedServer) -> Iterator[Archive]:
    """An archive that no test changes."""
    with make_fresh_database(server) as database:
        archive = Archive(database)
        yield archive
        archive.close()


@pytest.fixture
def archive(fresh_database: TestDatabase) -> Iterator[Archive]:
    """An archive of this test alone."""
    archive = Archive(fresh_database)
    yield archive
    archive.close()


# -- reading ---------------------------------------------------------------------------------------


def page(archive: Archive, query: ListQuery, *, is_large: bool = False) -> Any:
    """A page of papers; of a table with many rows, whose statement is another one."""
    papers = archive["papers"]
    papers._size, papers._size_due = (LARGE if is_large else 0), float("inf")
    return papers.list(query)


def listed(archive: Archive, *, is_large: bool = False, **query: Any) -> list[str]:
    """The titles of the papers that a list has."""
    rows = page(archive, ListQuery.of(PAPERS, **query), is_large=is_large).rows
    return [row.title for row in rows]


def related(archive: Archive, topic: str, relation: str) -> list[str]:
    """The related rows of all rows of a resource, as JSON."""
    actions = archive[topic]
    objects = actions.to_json_many(actions.list().rows, [relation])
    found = [object[relation] for object in objects]
    return [item for each in found for item in (each if isinstance(each, list) else [each]) if item]


def labels(rows: list[dict[str, Any]], name: str) -> list[str]:
    return sorted(row[name] for row in rows)


def sums(groups: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(group.values()) for group in groups]


def exported(archive: Archive, topic: str, *names: str) -> list[dict[str, Any]]:
    """The items of an export, with unique fields of related rows in place of their keys."""
    actions = archive[topic]
    replaced = references.references_named(actions, names)
    return list(export._items(actions, actions.stream(), replaced))


def reference(archive: Archive, value: str, live: bool = True) -> dict[Any, Any]:
    """The key of the paper with a number, as an import looks it up."""
    known = references.references(archive["covers"])["paper.number"]
    by, shown = known.column, PAPERS.key
    return known.lookup([value], by=by, shown=shown, live=live)


def missing(call: Callable[[], object]) -> str:
    with pytest.raises(NotFound):
        call()
    return "not found"


def of_north(archive: Archive) -> ListQuery:
    """A list with a cursor that the north received."""
    with as_identity(IN_NORTH):
        cursor = archive["papers"].list(ListQuery(limit=1)).next
    return ListQuery(limit=1, cursor=cursor)


def history_of_north(archive: Archive) -> str:
    """The same for the history of a paper."""
    with as_identity(IN_NORTH):
        return str(archive["papers"].audit_log("a", limit=1).next)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BadRequest):
        call()
    return "refused"


CENT = ("price", 1)
READS: dict[str, tuple[Callable[[Archive], Any], Any]] = {
    "get": (lambda a: a["papers"].get("a").title, "south a2"),
    "get of the north": (lambda a: missing(lambda: a["papers"].get("z")), "not found"),
    "public": (lambda a: a["papers"].public("a").title, "south a2"),
    "public of a deleted row": (
        lambda a: a["papers"].public("gone", live=False).title,
        "south gone",
    ),
    "public_many": (lambda a: [*a["papers"].public_many(["a", "z"])], ["a"]),
    "list": (listed, ["south b", "south a2"]),
    "list in an order": (lambda a: listed(a, sort="price,title"), ["south a2", "south b"]),
    "list with a filter": (lambda a: listed(a, filters={"title[contains]": "north"}), []),
    "list with equal values": (lambda a: listed(a, filters={"number": "n-a"}), ["south a2"]),
    "list of a large table": (
        lambda a: listed(a, filters={"number[gte]": "n-a"}, sort="title", is_large=True),
        ["south a2", "south b"],
    ),
    "list of deleted rows": (
        lambda a: [row.title for row in page(a, ListQuery(deleted=True)).rows],
        ["south gone"],
    ),
    "total": (lambda a: page(a, ListQuery(counted=True)).total, 2),
    "numbered page": (lambda a: page(a, ListQuery(page=1, limit=1)).total, 2),
    "page beyond the end": (lambda a: page(a, ListQuery(page=9, limit=1)).total, 2),
    "second page": (
        lambda a: [r.title for r in page(a, ListQuery(page=2, limit=1)).rows],
        ["south a2"],
    ),
    "search": (lambda a: listed(a, q="a2"), ["south a2"]),
    "search in an order": (lambda a: listed(a, q="a2", sort="title"), ["south a2"]),
    "search of a large table": (
        lambda a: listed(a, q="a2", sort="title", is_large=True),
        ["south a2"],
    ),
    "search with a total": (lambda a: page(a, ListQuery(q="a2", counted=True)).total, 1),
    "estimate": (
        lambda a: str(SOUTH) in str(a["papers"]._run(None, *queries.plan(PAPERS, ListQuery()))),
        True,
    ),
    "rows before contains": (
        lambda a: a["papers"]._run(None, *queries.count(PAPERS, ListQuery(), 9)),
        [(2,)],
    ),
    "stream": (lambda a: [r.title for r in a["papers"].stream()], ["south b", "south a2"]),
    "belongs_to": (lambda a: labels(related(a, "papers", "folder"), "name"), ["south f"] * 2),
    "has_one": (lambda a: labels(related(a, "papers", "cover"), "color"), ["south"]),
    "has_many": (
        lambda a: labels(related(a, "folders", "papers"), "title"),
        ["south a2", "south b"],
    ),
    "many_to_many": (lambda a: labels(related(a, "papers", "tags"), "label"), ["south red"]),
    "many_to_many of tags": (lambda a: labels(related(a, "tags", "papers"), "title"), ["south a2"]),
    "keys of many_to_many": (
        lambda a: a["papers"].linked("a", PAPERS.relations[2]),
        ["red"],
    ),
    "condition on belongs_to": (lambda a: listed(a, filters={"folder.name": "north f"}), []),
    "condition on has_one": (lambda a: listed(a, filters={"cover.color": "north"}), []),
    "condition that is true": (
        lambda a: listed(a, filters={"cover.color": "south", "folder.name": "south f"}),
        ["south a2"],
    ),
    "aggregate": (
        lambda a: sums(a["papers"].aggregate(AggregateQuery(group=["folder_id"]))),
        [("f", 2)],
    ),
    "report": (lambda a: sums(a["papers"].report("prices")), [(2,)]),
    "audit_log": (
        lambda a: [e.changes["title"] for e in a["papers"].audit_log("a").rows],
        [["south a", "south a2"], [None, "south a"]],
    ),
    "audit_log of the north": (lambda a: missing(lambda: a["papers"].audit_log("z")), "not found"),
    "recent_changes": (lambda a: len(a["papers"].recent_changes(99)), 5),
    "cursor of the north": (lambda a: refused(lambda: page(a, of_north(a))), "refused"),
    "cursor of the north in a history": (
        lambda a: refused(lambda: a["papers"].audit_log("a", cursor=history_of_north(a))),
        "refused",
    ),
    "export": (
        lambda a: [(i["title"], i["tag_ids"]) for i in exported(a, "papers")],
        [("south b", []), ("south a2", ["red"])],
    ),
    "export with a field of a related row": (
        lambda a: labels(exported(a, "covers", "paper.number"), "paper.number"),
        ["n-a"],
    ),
    "reference of an import": (lambda a: reference(a, "n-a"), {"n-a": "a"}),
    "reference to the north": (lambda a: reference(a, "n-z"), {}),
}


@pytest.mark.parametrize("case", READS)
def test_a_read_finds_rows_of_its_tenant_only(shared_archive: Archive, case: str) -> None:
    call, expected = READS[case]
    with as_identity(IN_SOUTH):
        assert call(shared_archive) == expected


# -- writing ---------------------------------------------------------------------------------------


def south(archive: Archive, sql: str) -> list[Any]:
    """Values of the south, as the owner sees them."""
    rows = archive.owner.execute(f"{sql} where tenant_id = '{SOUTH}' order by 1").fetchall()
    return [row if len(row) > 1 else row[0] for row in rows]


def joined(archive: Archive) -> list[Any]:
    return south(archive, "select paper_id, tag_id from papers_tags")


def paper(slug: str, **values: Any) -> dict[str, Any]:
    return {"slug": slug, "number": f"n-{slug}", "title": f"new {slug}", **values}


def linked_by(archive: Archive, topic: str, key: str, field: str, keys: list[str]) -> Any:
    """What is linked after an update of the keys of a relation, and what the history has of it."""
    archive[topic].update(key, {field: keys})
    return joined(archive), archive[topic].audit_log(key).rows[0].changes


def upserted(archive: Archive, key: str) -> tuple[int, ...]:
    items = [paper("a"), paper("z"), {"slug": "b", "number": "n-b", "title": "south b"}]
    return tuple(archive["papers"].upsert_many(items, key=key))


def performed(archive: Archive, operation: str, *keys: str) -> list[Any]:
    return [*archive["papers"].perform_each(keys, operation).values()]


def deleted_folder(archive: Archive) -> Any:
    """What the deletion of a folder leaves: its papers are deleted, their cover has none."""
    archive["folders"].delete("f")
    papers = south(archive, "select slug from papers")
    entries = "select topic from forge_audit where operation = 'delete' and tenant_id = %s"
    topics = archive.owner.execute(entries + " order by id", [SOUTH]).fetchall()
    return papers, south(archive, "select paper_id from covers"), [topic for (topic,) in topics]


def jobs_of(archive: Archive) -> list[Any]:
    """The unique jobs of the south: those of the north for the same keys are others."""
    archive["papers"].update("b", {"title": "x"})
    return archive.stored(IN_SOUTH)["forge_job"]


def once(archive: Archive) -> list[bool]:
    """Whether the response to the same key is a repetition: in the north, in the south, again."""
    papers = archive["papers"]

    def repeated(identity: Identity) -> bool:
        with as_identity(identity):
            return bool(papers.once("key", "hash", lambda conn: (200, [], b""))[3])

    return [repeated(IN_NORTH), repeated(IN_SOUTH), repeated(IN_SOUTH)]


WRITES: dict[str, tuple[Callable[[Archive], Any], Any]] = {
    "create": (
        lambda a: (a["papers"].create(paper("z", tag_ids=["blue"])).title, joined(a)),
        ("new z", [("a", "red"), ("z", "blue")]),
    ),
    "create_many": (
        lambda a: (a["papers"].create_many([paper("z", tag_ids=["blue"])]), joined(a)),
        (1, [("a", "red"), ("z", "blue")]),
    ),
    "upsert_many by the key": (lambda a: upserted(a, "slug"), (1, 1, 1)),
    "upsert_many by a unique field": (lambda a: upserted(a, "number"), (1, 1, 1)),
    "update": (lambda a: a["papers"].update("a", {"title": "x"}).title, "x"),
    "update of keys": (
        lambda a: linked_by(a, "papers", "a", "tag_ids", ["blue"]),
        ([("a", "blue")], {"tag_ids": [["red"], ["blue"]]}),
    ),
    "update of keys from the other side": (
        lambda a: linked_by(a, "tags", "red", "paper_ids", []),
        ([], {"paper_ids": [["a"], None]}),
    ),
    "merge of keys": (
        lambda a: linked_by(a, "papers", "a", "tag_ids", KeyChanges(["blue"], ["red"])),
        ([("a", "blue")], {"tag_ids": [["red"], ["blue"]]}),
    ),
    "replace": (lambda a: a["papers"].replace("a", paper("a")).price, 0),
    "delete": (
        lambda a: (a["papers"].delete("a"), [row.slug for row in a["papers"].list().rows])[1],
        ["b"],
    ),
    "restore": (lambda a: a["papers"].restore("gone").title, "south gone"),
    "transition": (lambda a: a["papers"].transition("a", "send").status, "sent"),
    "perform_each delete": (lambda a: performed(a, "delete", "a", "b"), [None, None]),
    "perform_each transition": (lambda a: performed(a, "send", "a", "b"), [None, None]),
    "delete of a linked row": (lambda a: (a["tags"].delete("red"), joined(a))[1], []),
    "delete with a cascade": (
        deleted_folder,
        ([], [None], ["papers", "papers", "papers", "folders"]),
    ),
    "unique jobs": (jobs_of, [("Index", "a"), ("Index", "b")]),
    "update of the north": (
        lambda a: missing(lambda: a["papers"].update("z", {"title": "x"})), "not found",
    ),
    "delete of the north": (lambda a: missing(lambda: a["papers"].delete("z")), "not found"),
    "restore of the north": (lambda a: missing(lambda: a["papers"].restore("z")), "not found"),
    "transition of the north": (
        lambda a: missing(lambda: a["papers"].transition("z", "send")), "not found",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITES)
def test_a_write_changes_and_locks_rows_of_its_tenant_only(archive: Archive, case: str) -> None:
    call, expected = WRITES[case]
    before = archive.stored(IN_NORTH)
    with as_identity(IN_SOUTH), archive.north_locked():
        assert call(archive) == expected
    assert archive.stored(IN_NORTH) == before
    for table in ("forge_audit", "forge_event"):
        sql = f"select count(*) from {table} where tenant_id is null"
        assert archive.owner.execute(sql).fetchall() == [(0,)], "it is in the tenant's name"


def test_a_rule_sees_the_changes_of_its_tenant_only(archive: Archive) -> None:
    seen: list[Any] = []

    class Ruled(Actions[Any, Any, Any]):
        resource = PAPERS

        def rule(self, changes: Any, conn: db.Connection) -> None:
            """Note what it gets."""
            seen.extend((c.before and c.before.title, c.after and c.after.title) for c in changes)

    papers: Any = archive.registry.add(Ruled)
    with as_identity(IN_SOUTH), archive.north_locked():
        papers.update("a", {"title": "x"})
        papers.upsert_many([paper("b")], key="slug")
        papers.delete("a")
    assert seen == [("south a2", "x"), ("south b", "new b"), ("x", None)]


def test_a_key_of_an_idempotent_request_is_of_its_tenant(archive: Archive) -> None:
    assert once(archive) == [False, False, True]
