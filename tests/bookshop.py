"""A bookshop written by hand as gen/ would write it: tenants, soft deletion, hidden columns,
search, every kind of relation. What reads it needs no generator.
"""

from __future__ import annotations

from dataclasses import asdict, make_dataclass
from typing import Any
from uuid import UUID

from forge_min import db
from forge_min.actions.reader import ReadActions
from forge_min.actions.resource import Column, DeclaredReport, Relation, Resource
from forge_min.actions.values import iso_utc, to_text
from forge_min.auth import Identity
from forge_min.testing import TestDatabase

SECRET = b"of a bookshop"
NORTH = Identity(user="ann", tenant=UUID(int=1))
SOUTH = Identity(user="bob", tenant=UUID(int=2))

OPEN = dict.fromkeys(("read", "create", "update", "delete", "restore"), ("anybody",))
TENANT = "nullif(current_setting('forge.tenant_id', true), '')::uuid"
TABLES = """
create table authors (
  id uuid primary key, tenant_id uuid not null, name text not null, email text,
  version bigint not null default 1, unique (tenant_id, id));
create table books (
  id uuid primary key, tenant_id uuid not null, title text not null, blurb text, price numeric,
  pages integer not null default 0, printed timestamptz, sold boolean, author_id uuid,
  editor_id uuid, cost numeric, version bigint not null default 1, deleted_at timestamptz,
  forge_search tsvector generated always as (
    setweight(to_tsvector('simple', title), 'A')
    || setweight(to_tsvector('simple', coalesce(blurb, '')), 'B')) stored);
create index on books using gin (forge_search);
create index on books (tenant_id, price, id);
create index on books (tenant_id, title, id);
create index on books (tenant_id, author_id);
create table profiles (
  id uuid primary key, tenant_id uuid not null, author_id uuid, words text,
  version bigint not null default 1, deleted_at timestamptz);
create table tags (
  slug varchar(20) not null, tenant_id uuid not null, version bigint not null default 1,
  primary key (tenant_id, slug));
create table books_tags (
  tenant_id uuid not null, book_id uuid not null, tag_id varchar(20) not null,
  primary key (tenant_id, book_id, tag_id));
create table languages (code text primary key, version bigint not null default 1);
""" + "".join(
    f"""alter table {table} enable row level security;
create policy {table}_tenant on {table} using (tenant_id = {TENANT});
create view {table}_of_tenant as select * from {table} where tenant_id = {TENANT};
"""
    for table in ("authors", "books", "profiles", "tags", "books_tags")
)


def plain(row: Any) -> dict[str, Any]:
    """A row as JSON."""
    return {
        name: value if value is None or isinstance(value, (bool, int)) else to_text(value)
        for name, value in asdict(row).items()
    }


def resource(name: str, *columns: Column, tenant_scoped: bool = True, **rest: Any) -> Resource[Any]:
    """A resource whose table is the plural of its name."""
    event = name.lower()
    table = event + "s"
    source = table + "_of_tenant" if tenant_scoped else table
    listed = ", ".join(f'"{c.name}"' for c in columns)
    return Resource(
        name=name,
        event=event,
        table=table,
        topic=table,
        columns=columns,
        row=make_dataclass(name + "Row", [c.name for c in columns], frozen=True, slots=True),
        to_json=plain,
        check=lambda check: [check.string(c.name) for c in columns if c.type in LONG] and None,
        select=f'select\n  {listed}\nfrom "{source}"',
        insert="",
        insert_many="",
        source=source,
        tenant_scoped=tenant_scoped,
        **rest,
    )


LONG = ("string", "text")  # types of values without a limit
KEY = Column("id", "uuid", nullable=False, filterable=True, sortable=True)
VERSION = Column("version", "bigint", nullable=False)
DELETED = Column("deleted_at", "datetime")
AUTHOR = Column("author_id", "uuid", filterable=True, aggregatable=True)

AUTHORS = resource(
    "Author",
    KEY,
    Column("name", "string", nullable=False, filterable=True, sortable=True),
    Column("email", "email", filterable=True, visible_to=("staff",)),
    VERSION,
    relations=(
        Relation("books", "has_many", "books", "author_id"),
        Relation("edited", "has_many", "books", "editor_id"),
        Relation("profile", "has_one", "profiles", "author_id"),
    ),
)
BOOKS = resource(
    "Book",
    KEY,
    Column("title", "string", nullable=False, filterable=True, sortable=True, aggregatable=True),
    Column("blurb", "text"),
    Column("price", "decimal", filterable=True, sortable=True, aggregatable=True),
    Column("pages", "int", nullable=False, filterable=True, sortable=True, aggregatable=True),
    Column("printed", "datetime", filterable=True, sortable=True, aggregatable=True),
    Column("sold", "bool", filterable=True, sortable=True, aggregatable=True),
    AUTHOR,
    Column("editor_id", "uuid", filterable=True, visible_to=("staff",)),
    Column("cost", "decimal", visible_to=("staff",), aggregatable=True),
    VERSION,
    DELETED,
    relations=(
        Relation("author", "belongs_to", "authors", "author_id"),
        Relation("editor", "belongs_to", "authors", "editor_id"),
        Relation(
            "tags", "many_to_many", "tags", "book_id", "books_tags", "tag_id", "tag_ids", "slug"
        ),
    ),
    soft_delete=True,
    searchable=True,
    auditable=True,
    permissions={"audit": ("anybody",), "sold": ("boss",)},
    reports={
        "sold": DeclaredReport(
            ("author_id", "year(printed)"), ("sum(price)", "count"), {"sold": True}
        ),
        "all": DeclaredReport(("title",), ("count",)),
    },
)
PROFILES = resource(
    "Profile",
    KEY,
    AUTHOR,
    Column("words", "text"),
    VERSION,
    DELETED,
    soft_delete=True,
    permissions={**OPEN, "read": ("reader", "staff")},
)
TAGS = resource(
    "Tag",
    Column("slug", "slug", nullable=False, filterable=True, sortable=True),
    VERSION,
    relations=(
        Relation(
            "books", "many_to_many", "books", "tag_id", "books_tags", "book_id", "book_ids", "uuid"
        ),
    ),
)
LANGUAGES = resource(
    "Language",
    Column("code", "string", nullable=False, filterable=True, sortable=True),
    VERSION,
    tenant_scoped=False,
)


class Bookshop:
    """Readers by topic on the app role's connection. It stands in for a registry."""

    secret = SECRET
    advises = False

    def __init__(self, database: TestDatabase) -> None:
        self.owner = db.connect(database.owner_url)
        self.owner.execute(TABLES)
        self.database = db.Database(database.app_url)
        self.actions: dict[str, Any] = {}
        for each in (AUTHORS, BOOKS, PROFILES, TAGS, LANGUAGES):
            made: Any = type(each.name + "Actions", (ReadActions,), {"resource": each})(
                self.database
            )
            made.registry = self
            self.actions[each.topic] = made

    def __getitem__(self, topic: str) -> Any:
        return self.actions[topic]

    def add(self, table: str, *rows: dict[str, Any], tenant: Identity | None = NORTH) -> None:
        """Insert rows as the owner."""
        for row in rows:
            whole = row if tenant is None else {"tenant_id": tenant.tenant, **row}
            names = ", ".join(whole)
            marks = ", ".join(f"%({name})s" for name in whole)
            self.owner.execute(f"insert into {table} ({names}) values ({marks})", whole)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
        self.owner.close()


__all__ = ["BOOKS", "NORTH", "SOUTH", "Bookshop", "iso_utc"]
