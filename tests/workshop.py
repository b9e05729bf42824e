"""A workshop written by hand as gen/ would write it, for tests of writing: tenants, soft deletion,
locked and hidden columns, audit, hooks, natural keys, join tables.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, make_dataclass
from typing import Any
from uuid import UUID

from forge_min import db
from forge_min.actions import Actions, Check, Column, JobHook, Registry, Relation, Resource
from forge_min.actions.values import to_text
from forge_min.auth import Identity, as_identity
from forge_min.testing import TestDatabase

NORTH, SOUTH = UUID(int=1), UUID(int=2)
ANN = Identity(user="ann", tenant=NORTH)
BOSS = Identity(user="eve", roles=frozenset(["boss"]), tenant=NORTH)
BOB = Identity(user="bob", roles=frozenset(["boss"]), tenant=SOUTH)
OPEN = dict.fromkeys(("read", "create", "update", "delete", "restore"), ("anybody",))
TENANT = "nullif(current_setting('forge.tenant_id', true), '')::uuid"
SQL = {"string": "text", "slug": "text", "int": "integer", "decimal": "numeric", "json": "jsonb"}
SQL |= {"datetime": "timestamptz", "enum": "text"}

TABLES = """
create table makers (
  id uuid constraint makers_pkey primary key, tenant_id uuid not null, name varchar(40) not null,
  version bigint not null default 1,
  constraint makers_tenant_key unique (tenant_id, id));
create table tags (
  slug varchar(20) not null, tenant_id uuid not null, label text,
  version bigint not null default 1, constraint tags_pkey primary key (tenant_id, slug));
create table products (
  id uuid constraint products_pkey primary key, tenant_id uuid not null,
  code varchar(20) not null, name varchar(40) not null default 'none', price numeric(10, 2),
  cost numeric(10, 2), maker_id uuid, details jsonb, seen_at timestamptz,
  version bigint not null default 1, created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(), deleted_at timestamptz,
  forge_search tsvector generated always as (to_tsvector('simple', name)) stored,
  constraint products_tenant_key unique (tenant_id, id),
  constraint products_price_min check (price >= 0),
  constraint products_maker_id_fkey foreign key (tenant_id, maker_id)
    references makers (tenant_id, id));
create unique index products_code_key on products (tenant_id, code) where deleted_at is null;
create table products_tags (
  tenant_id uuid not null, product_id uuid not null, tag_id varchar(20) not null,
  constraint products_tags_pkey primary key (tenant_id, product_id, tag_id),
  constraint products_tags_product_id_fkey foreign key (tenant_id, product_id)
    references products (tenant_id, id) on delete cascade,
  constraint products_tags_tag_id_fkey foreign key (tenant_id, tag_id)
    references tags (tenant_id, slug) on delete cascade);
create table units (
  code varchar(8) constraint units_pkey primary key, symbol varchar(4),
  name text, base varchar(8), version bigint not null default 1,
  constraint units_symbol_key unique (symbol),
  constraint units_base_fkey foreign key (base) references units (code));
create table people (
  id uuid constraint people_pkey primary key, name text not null, age integer,
  version bigint not null default 1);
create table people_friends (
  person_id uuid not null, other_person_id uuid not null,
  constraint people_friends_pkey primary key (person_id, other_person_id),
  constraint people_friends_person_id_fkey foreign key (person_id)
    references people (id) on delete cascade,
  constraint people_friends_other_person_id_fkey foreign key (other_person_id)
    references people (id) on delete cascade);
""" + "".join(
    f"""alter table {table} enable row level security;
create policy {table}_tenant on {table} using (tenant_id = {TENANT});
create view {table}_of_tenant as select * from {table} where tenant_id = {TENANT};
"""
    for table in ("makers", "tags", "products", "products_tags")
)

VERSION = Column("version", "bigint", nullable=False)
TIMES = tuple(Column(f"{word}_at", "datetime") for word in ("created", "updated", "deleted"))
ID = Column("id", "uuid", nullable=False, unique=True)


def plain(row: Any) -> dict[str, Any]:
    """A row as JSON."""
    plain_types = (type(None), bool, int, dict, list)
    return {n: v if isinstance(v, plain_types) else to_text(v) for n, v in asdict(row).items()}


def resource(
    name: str,
    table: str,
    columns: tuple[Column, ...],
    check: Callable[[Check], None],
    **rest: Any,
) -> Resource[Any]:
    """A resource with the statements that gen/ would hold."""
    scoped = rest.get("tenant_scoped", False)
    ours = ("version", "created_at", "updated_at", "deleted_at")
    given = [c for c in columns if c.name not in ours]
    names = ", ".join([f'"{c.name}"' for c in given] + ['"tenant_id"'] * scoped)
    marks = ", ".join([f"%({c.name})s" for c in given] + ["%(forge_tenant)s"] * scoped)
    arrays = ", ".join(f"%({c.name})s::{SQL.get(c.type, c.type)}[]" for c in given)
    tenant = ", %(forge_tenant)s::uuid" * scoped
    source = table + "_of_tenant" * scoped
    return Resource(
        name=name,
        event=name.lower(),
        table=table,
        topic=table,
        columns=columns,
        row=make_dataclass(name + "Row", [c.name for c in columns], frozen=True, slots=True),
        to_json=plain,
        check=check,
        select="select\n  " + ", ".join(f'"{c.name}"' for c in columns) + f'\nfrom "{source}"',
        insert=f'insert into "{table}" ({names}) values ({marks})\nreturning *',
        insert_many=f'insert into "{table}" ({names})\n'
        f"select forge_given.*{tenant} from unnest({arrays}) as forge_given\nreturning *",
        source=source,
        **rest,
    )


def check_product(c: Check) -> None:
    c.string("code", required=True, max_len=20)
    c.string("name", required=True, max_len=40, default="none")
    c.decimal("price", precision=(10, 2))
    c.decimal("cost", precision=(10, 2))
    c.uuid("maker_id")
    c.json("details")
    c.datetime("seen_at")
    c.many("tag_ids", "slug")
    c.unknown()


def check_maker(c: Check) -> None:
    c.string("name", required=True, max_len=40)
    c.unknown()


def check_tag(c: Check) -> None:
    c.slug("slug", required=True, max_len=20)
    c.string("label")
    c.many("product_ids", "uuid")
    c.unknown()


def check_unit(c: Check) -> None:
    c.string("code", required=True, max_len=8)
    c.string("symbol", max_len=4)
    c.string("name")
    c.string("base", max_len=8)
    c.unknown()


def check_person(c: Check) -> None:
    c.string("name", required=True)
    c.int("age")
    c.many("friends_ids", "uuid")
    c.unknown()


PRODUCTS = resource(
    "Product",
    "products",
    (
        ID,
        Column("code", "string", nullable=False, unique=True, immutable=True),
        Column("name", "string", nullable=False),
        Column("price", "decimal"),
        Column("cost", "decimal", visible_to=("boss",), writable_by=("boss",)),
        Column("maker_id", "uuid"),
        Column("details", "json"),
        Column("seen_at", "datetime"),
        VERSION,
        *TIMES,
    ),
    check_product,
    tenant_scoped=True,
    soft_delete=True,
    auditable=True,
    timestamps=True,
    searchable=True,
    permissions={**OPEN, "delete": ("boss",), "restore": ("boss",), "close": ("boss",)},
    relations=(
        Relation("maker", "belongs_to", "makers", "maker_id"),
        Relation(
            "tags", "many_to_many", "tags", "product_id", "products_tags", "tag_id", "tag_ids",
            "slug",
        ),
    ),
    constraints={
        "products_pkey": "id",
        "products_code_key": "code",
        "products_price_min": "price",
        "products_maker_id_fkey": "maker_id",
        "products_tags_tag_id_fkey": "tag_ids",
    },
    after_create=(JobHook("Made"), JobHook("Index", unique=True)),
    after_update=(JobHook("Changed"), JobHook("Index", unique=True)),
    after_delete=(JobHook("Gone"),),
)  # fmt: skip
MAKERS = resource(
    "Maker",
    "makers",
    (ID, Column("name", "string", nullable=False), VERSION),
    check_maker,
    tenant_scoped=True,
    auditable=True,
    after_delete=(JobHook("Gone"),),
)
TAGS = resource(
    "Tag",
    "tags",
    (
        Column("slug", "slug", nullable=False, unique=True, immutable=True),
        Column("label", "string"),
        VERSION,
    ),
    check_tag,
    tenant_scoped=True,
    auditable=True,
    relations=(
        Relation(
            "products", "many_to_many", "products", "tag_id", "products_tags", "product_id",
            "product_ids",
        ),
    ),
    constraints={"tags_pkey": "slug", "products_tags_product_id_fkey": "product_ids"},
)  # fmt: skip
UNITS = resource(
    "Unit",
    "units",
    (
        Column("code", "string", nullable=False, unique=True, immutable=True),
        Column("symbol", "string", unique=True),
        Column("name", "string"),
        Column("base", "string"),
        VERSION,
    ),
    check_unit,
    versioned=True,
    constraints={
        "units_pkey": "code",
        "units_symbol_key": "symbol",
        "units_base_fkey": "base",
    },
)
PEOPLE = resource(
    "Person",
    "people",
    (
        ID,
        Column("name", "string", nullable=False),
        Column("age", "int", visible_to=("writer",)),
        VERSION,
    ),
    check_person,
    auditable=True,
    relations=(
        Relation(
            "friends", "many_to_many", "people", "person_id", "people_friends", "other_person_id",
            "friends_ids",
        ),
    ),
    constraints={"people_friends_other_person_id_fkey": "friends_ids"},
    permissions={
        **OPEN,
        "read": ("reader",),
        "create": ("writer",),
        "update": ("writer", "editor"),
    },
)  # fmt: skip
WRITER = Identity(user="wim", roles=frozenset(["writer", "reader"]))


class Workshop:
    """Actions by topic, as the app role; `sql` asks as the owner."""

    def __init__(self, database: TestDatabase, url: str = "") -> None:
        self.owner = db.connect(database.owner_url)
        self.database = db.Database(url or database.app_url)
        self.registry = Registry(self.database, {}, secret=b"of a workshop")
        for each in (PRODUCTS, MAKERS, TAGS, UNITS, PEOPLE):
            self.registry.add(type(each.name + "Actions", (Actions,), {"resource": each}))

    def __getitem__(self, topic: str) -> Any:
        return self.registry.actions[topic]

    def sql(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """Rows as the owner sees them."""
        return self.owner.execute(query, params).fetchall()

    def one(self, query: str, *params: object) -> Any:
        """The only value of the only row."""
        ((value,),) = self.sql(query, *params)
        return value

    def product(self, code: str, who: Identity = ANN, **fields: object) -> Any:
        """A new product."""
        with as_identity(who):
            return self["products"].create({"code": code, **fields})

    def tags(self, *slugs: str, who: Identity = ANN) -> None:
        """New tags."""
        with as_identity(who):
            for slug in slugs:
                self["tags"].create({"slug": slug})

    def joined(self, product: Any) -> list[str]:
        """The tags that a product has."""
        query = "select tag_id from products_tags where product_id = %s order by 1"
        return [slug for (slug,) in self.sql(query, product.id)]

    def audit(self, topic: str, columns: str = "operation, version, changes") -> list[Any]:
        """The log of a topic, oldest first."""
        return self.sql(f"select {columns} from forge_audit where topic = %s order by id", topic)

    def events(self, topic: str, columns: str = "kind, version, changed") -> list[Any]:
        """The events of a topic, oldest first."""
        return self.sql(f"select {columns} from forge_event where topic = %s order by id", topic)

    def counts(self) -> tuple[Any, ...]:
        """How much a write could have left behind."""
        tables = ("products", "makers", "tags", "products_tags", "units", "people")
        tables += ("people_friends", "forge_audit", "forge_event", "forge_job")
        return tuple(self.one(f"select count(*) from {table}") for table in tables)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
        self.owner.close()


@contextmanager
def workshop(database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on this database."""
    made = Workshop(database)
    made.owner.execute(TABLES)
    try:
        yield made
    finally:
        made.close()


def together(*calls: Callable[[], object]) -> list[BaseException]:
    """Run each in a thread of its own, at once; what they raised."""
    raised: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as err:
            raised.append(err)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised
