"""desired_sql on a real PostgreSQL: every type, rule and name holds, and no user's text is run."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import psycopg
import pytest
from forge_min.errors import BuildError
from forge_min.migrations import desired_sql
from forge_min.parse import resolve
from forge_min.parse.names import constraint_name

HOSTILE = "'; drop table victim; --\\'); drop table victim; --\n-- forge: down\ndrop table victim;"
TYPES = [
    ("uuid", {}, "uuid", "6f0c2a7e-9b1d-7c3e-8a4f-0123456789ab", None),
    ("string", {"max_len": 7}, "character varying(7)", "seven", "seven"),
    ("string", {}, "text", "any", "any"),
    ("text", {"max_len": 9}, "text", "O'Hara\\", "O'Hara\\"),
    ("int", {}, "integer", -5, -5),
    ("decimal", {"precision": (6, 2)}, "numeric(6,2)", "12.50", Decimal("12.50")),
    ("decimal", {}, "numeric", 3, Decimal(3)),
    ("bool", {}, "boolean", False, False),
    ("datetime", {}, "timestamp with time zone", "2026-01-31T12:00:00+01:00", None),
    ("date", {}, "date", "2026-01-31", date(2026, 1, 31)),
    ("enum", {"choices": ("a", "b'c")}, "text", "b'c", "b'c"),
    ("bigint", {}, "bigint", 2**40, 2**40),
    ("slug", {}, "character varying(100)", "a-b-1", "a-b-1"),
    ("slug", {"max_len": 5}, "character varying(5)", "a", "a"),
    ("email", {}, "character varying(320)", "a@b.c", "a@b.c"),
    ("url", {}, "text", "https://a.b/c", "https://a.b/c"),
    ("float", {}, "double precision", 1e-7, 1e-7),
    ("time", {}, "time without time zone", "08:30:00.5", time(8, 30, 0, 500000)),
    ("duration", {}, "interval", "P2W", timedelta(14)),
]


def test_the_text_is_what_a_person_would_write(schema):
    country = schema.define(
        "Country",
        schema.field("code", required=True, unique=True, max_len=2, min_len=2),
        schema.field("name", sortable=True),
        table="countries",
        timestamps=True,
    )
    city = schema.define(
        "City",
        schema.field("status", "enum", choices=("open", "shut"), default="open", required=True),
        schema.belongs_to("country", "Country", required=True, on_delete="cascade"),
        table="cities",
    )
    assert desired_sql([country, city]) == EXPECTED
    assert desired_sql([city, country]) == EXPECTED


EXPECTED = """\
create table cities (
  id uuid default forge_uuid7() not null,
  status text default 'open' not null,
  country_id uuid not null,
  version bigint default 1 not null,
  constraint cities_pkey primary key (id),
  constraint cities_status_check check (status in ('open', 'shut'))
);

create table countries (
  id uuid default forge_uuid7() not null,
  code varchar(2) not null,
  name text,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint countries_pkey primary key (id),
  constraint countries_code_min_len check (char_length(code) >= 2),
  constraint countries_code_key unique (code)
);

alter table cities
  add constraint cities_country_id_fkey foreign key (country_id)\
 references countries (id) on delete cascade;

create index cities_country_id_idx on cities (country_id);
create index countries_name_idx on countries (name, id);
"""


def test_a_tenants_tables_as_a_person_would_write_them(schema):
    tag = schema.define("Tag", schema.field("code", "slug", primary_key=True), tenant_scoped=True)
    post = schema.define(
        "Post",
        schema.field("title", required=True, unique=True, searchable=True),
        schema.field("body", "text", searchable=True),
        schema.field("rank", "bigint", sortable=True),
        schema.belongs_to("lead", "Tag", on_delete="set_null"),
        schema.many_to_many("tags", "Tag"),
        tenant_scoped=True,
        soft_delete=True,
    )
    assert desired_sql(resolve([tag, post])) == EXPECTED_OF_TENANTS


TENANT = "tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid"
EXPECTED_OF_TENANTS = f"""\
create table posts (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  title text not null,
  body text,
  rank bigint,
  lead_id varchar(100),
  version bigint default 1 not null,
  deleted_at timestamptz,
  forge_search tsvector generated always as (setweight(to_tsvector('simple',\
 coalesce(title, '')), 'A') || setweight(to_tsvector('simple', coalesce(body, '')), 'B')) stored,
  constraint posts_pkey primary key (id),
  constraint posts_tenant_key unique (tenant_id, id)
);

create table posts_tags (
  tenant_id uuid not null,
  post_id uuid not null,
  tag_id varchar(100) not null,
  constraint posts_tags_pkey primary key (tenant_id, post_id, tag_id)
);

create table tags (
  code varchar(100) not null,
  tenant_id uuid not null,
  version bigint default 1 not null,
  constraint tags_pkey primary key (tenant_id, code),
  constraint tags_code_check check (code ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
);

alter table posts
  add constraint posts_lead_id_fkey foreign key (tenant_id, lead_id)\
 references tags (tenant_id, code) on delete set null (lead_id);
alter table posts_tags
  add constraint posts_tags_post_id_fkey foreign key (tenant_id, post_id)\
 references posts (tenant_id, id) on delete cascade;
alter table posts_tags
  add constraint posts_tags_tag_id_fkey foreign key (tenant_id, tag_id)\
 references tags (tenant_id, code) on delete cascade;

create unique index posts_title_key on posts (tenant_id, title) where deleted_at is null;
create index posts_rank_idx on posts (tenant_id, rank, id);
create index posts_lead_id_idx on posts (tenant_id, lead_id);
create index posts_search on posts using gin (forge_search);
create index posts_id_where_deleted_at_idx on posts (tenant_id, id) where deleted_at is not null;
create index posts_tags_tag_id_idx on posts_tags (tenant_id, tag_id);

alter table posts
  enable row level security;
create policy posts_tenant on posts
  using ({TENANT});
alter table posts_tags
  enable row level security;
create policy posts_tags_tenant on posts_tags
  using ({TENANT});
alter table tags
  enable row level security;
create policy tags_tenant on tags
  using ({TENANT});

create view posts_tenant with (check_option = local) as
  select id, tenant_id, title, body, rank, lead_id, version, deleted_at, forge_search
  from posts
  where {TENANT};
create view tags_tenant with (check_option = local) as
  select code, tenant_id, version
  from tags
  where {TENANT};
"""


@pytest.mark.db
@pytest.mark.parametrize(("type", "options", "expected", "default", "value"), TYPES)
def test_each_type_and_its_default_is_what_it_says(
    conn, schema, type, options, expected, default, value
):
    full = schema.field("full", type, default=default, required=True, **options)
    conn.execute(
        desired_sql([schema.define("Thing", full, schema.field("empty", type, **options))])
    )
    row = conn.execute('insert into things default values returning "full", empty').fetchone()
    kinds = dict(
        conn.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = 'things'::regclass"
        ).fetchall()
    )
    assert kinds["full"] == kinds["empty"] == expected
    if type == "uuid":
        value = uuid.UUID(default)
    if type == "datetime":
        value = datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert row == (value, None)


@pytest.mark.db
def test_ids_are_ordered_by_time_and_version_begins_at_one(conn, schema):
    conn.execute(desired_sql([schema.define("Thing", timestamps=True)]))
    found = []
    for _ in range(200):
        row = conn.execute(
            "insert into things default values returning id, version, created_at, now()"
        ).fetchone()
        found.append(row[0])
        assert row[1] == 1 and row[2] == row[3]
    assert found == sorted(found)
    assert {each.version for each in found} == {7}
    assert {each.variant for each in found} == {uuid.RFC_4122}
    age = conn.execute("select extract(epoch from now())::float8").fetchone()[0]
    assert abs((found[-1].int >> 80) / 1000 - age) < 60


@pytest.mark.db
@pytest.mark.parametrize(
    ("options", "bad", "kind"),
    [
        ({"type": "int", "min": -3}, "-4", "min"),
        ({"type": "decimal", "max": 3}, "3.01", "max"),
        ({"type": "decimal", "min": Decimal("1E-7")}, "0.00000009", "min"),
        ({"type": "string", "min_len": 2}, "'é'", "min_len"),
        ({"type": "text", "max_len": 2}, "'äöü'", "max_len"),
        ({"type": "enum", "choices": ("a",)}, "'b'", "check"),
        ({"type": "bigint", "max": 2**40}, str(2**40 + 1), "max"),
        ({"type": "slug"}, "'-a'", "check"),
        ({"type": "slug"}, "'A'", "check"),
        ({"type": "slug", "min_len": 2}, "'a'", "min_len"),
        ({"type": "url"}, "repeat('a', 2049)", "max_len"),
        ({"type": "url", "max_len": 5}, "'123456'", "max_len"),
        ({"type": "email", "min_len": 5}, "'a@b'", "min_len"),
        ({"type": "float", "min": 0.1}, "0.09999999999999999", "min"),
        ({"type": "float"}, "'NaN'", "check"),
        ({"type": "date", "max": "2026-01-31"}, "'2026-02-01'", "max"),
        ({"type": "datetime", "min": "2026-01-31T01:00:00+01:00"}, "'2026-01-30Z'", "min"),
        ({"type": "duration", "min": "PT1H"}, "'59 min'", "min"),
        ({"type": "duration"}, "'1 month'", "check"),
        ({"type": "string[]"}, "'{NULL}'", "check"),
        ({"type": "enum[]", "choices": ("a",)}, "'{a,b}'", "check"),
        ({"type": "int[]", "max_items": 2}, "'{1,2,3}'", "max_items"),
    ],
)
def test_each_rule_refuses_by_its_stable_name(conn, schema, options, bad, kind):
    conn.execute(desired_sql([schema.define("Thing", schema.field("size", **options))]))
    conn.execute("insert into things (size) values (null)")
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        conn.execute(f"insert into things (size) values ({bad})")
    assert caught.value.diag.constraint_name == constraint_name("things", "size", kind)


@pytest.mark.db
@pytest.mark.parametrize(
    ("type", "options", "expected"),
    [
        ("uuid", {}, "uuid"),
        ("string", {"max_len": 3}, "character varying(3)"),
        ("string", {}, "text"),
        ("slug", {}, "character varying(100)"),
        ("int", {}, "integer"),
        ("bigint", {}, "bigint"),
    ],
)
def test_a_declared_key_is_the_only_one_and_relations_take_its_type(
    conn, schema, type, options, expected
):
    key = schema.field("code", type, primary_key=True, unique=True, required=True, **options)
    code = schema.define("Code", key, schema.many_to_many("codes", "Code"))
    thing = schema.define("Thing", schema.belongs_to("code", "Code"))
    conn.execute(desired_sql(resolve([code, thing])))
    rows = conn.execute(
        "select attrelid::regclass::text, attname, format_type(atttypid, atttypmod)"
        " from pg_attribute where attnum > 0 and attrelid in"
        " ('codes'::regclass, 'things'::regclass, 'codes_codes'::regclass)"
    ).fetchall()
    found = {(table, column): type for table, column, type in rows}
    places = [("codes", "code"), ("things", "code_id")]
    places += [("codes_codes", "code_id"), ("codes_codes", "other_code_id")]
    assert [found[place] for place in places] == [expected] * 4
    assert ("codes", "id") not in found
    query = "select indexdef from pg_indexes where tablename = 'codes'"
    assert len(conn.execute(query).fetchall()) == 1


@pytest.mark.db
def test_json_holds_what_it_is_given(conn, schema):
    conn.execute(desired_sql([schema.define("Thing", schema.field("a", "json"))]))
    row = conn.execute("""insert into things (a) values ('{"b": [1, null]}') returning a""")
    assert row.fetchone() == ({"b": [1, None]},)


@pytest.mark.db
def test_unique_required_and_foreign_keys_refuse(conn, schema):
    parent = schema.define("Parent", schema.field("code", unique=True, required=True))
    child = schema.define(
        "Child", schema.belongs_to("parent", "Parent", required=True), table="children"
    )
    conn.execute(desired_sql([parent, child]))
    conn.execute("insert into parents (code) values ('a')")
    conn.execute("insert into children (parent_id) select id from parents")
    for statement, error, name in (
        ("insert into parents (code) values ('a')", "UniqueViolation", "parents_code_key"),
        ("insert into parents default values", "NotNullViolation", None),
        ("delete from parents", "IntegrityError", "children_parent_id_fkey"),
        (
            "insert into children (parent_id) values (gen_random_uuid())",
            "ForeignKeyViolation",
            "children_parent_id_fkey",
        ),
    ):
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute(statement)
        assert error in [each.__name__ for each in type(caught.value).__mro__]
        assert name is None or caught.value.diag.constraint_name == name


@pytest.mark.db
def test_references_to_itself_and_in_a_circle_work(conn, schema):
    circle = [
        schema.define("Node", schema.belongs_to("up", "Node", on_delete="cascade")),
        schema.define("Hen", schema.belongs_to("egg", "Egg", on_delete="set_null")),
        schema.define("Egg", schema.belongs_to("hen", "Hen", on_delete="set_null")),
    ]
    conn.execute(desired_sql(circle))
    [top] = conn.execute("insert into nodes default values returning id").fetchone()
    conn.execute("insert into nodes (up_id) values (%s)", [top])
    conn.execute("delete from nodes where id = %s", [top])
    assert conn.execute("select count(*) from nodes").fetchone() == (0,)


@pytest.mark.db
def test_every_foreign_key_and_filter_has_its_index(conn, schema):
    thing = schema.define(
        "Thing",
        schema.belongs_to("owner", "Thing"),
        schema.field("a", index=True),
        schema.field("b", filterable=True),
        schema.field("c", sortable=True),
        schema.field("d", unique=True, filterable=True, sortable=True),
        schema.field("e"),
        schema.field("f", "int[]", filterable=True),
    )
    conn.execute(desired_sql([thing]))
    query = "select indexdef from pg_indexes where tablename = 'things' order by 1"
    found = [row[0].partition(" USING ")[2] for row in conn.execute(query)]
    columns = ["id", "owner_id", "a", "b", "c, id", "d"]
    assert sorted(found) == sorted([*(f"btree ({name})" for name in columns), "gin (f)"])


@pytest.mark.db
def test_reserved_words_and_longest_names_work(conn, schema):
    long = "l" * 63
    options = {"unique": True, "min_len": 1, "max_len": 5, "required": True, "type": "text"}
    order = schema.define(
        "Order",
        *(schema.field(word, **options) for word in ("select", "user", "table", "end", "group")),
        schema.field("l" * 59, "enum", choices=("a",), index=True),
        schema.belongs_to("l" * 60, "Long"),
        table="order",
    )
    twins = [schema.field("l" * 62 + end, **options) for end in "ab"]
    conn.execute(desired_sql([order, schema.define("Long", *twins, table=long)]))
    names = [
        row[0]
        for row in conn.execute(
            "select conname from pg_constraint where conrelid in (%s::regclass, %s::regclass)"
            " and contype <> 'n'",
            ['"order"', long],
        )
    ]
    wanted = [constraint_name(long, field.column, k) for field in twins for k in ("key", "min_len")]
    assert set(wanted) <= set(names)
    assert constraint_name("order", "l" * 60 + "_id", "fkey") in names


@pytest.mark.db
def test_hostile_defaults_and_choices_are_texts_and_nothing_else(conn, schema):
    conn.execute("create table victim (id int)")
    thing = schema.define(
        "Thing",
        schema.field("a", default=HOSTILE),
        schema.field("b", "text", default="now()"),
        schema.field("c", "enum", choices=(HOSTILE, "x"), default=HOSTILE),
    )
    sql = desired_sql([thing])
    conn.execute(sql)
    row = conn.execute("insert into things default values returning a, b, c").fetchone()
    assert row == (HOSTILE, "now()", HOSTILE)
    conn.execute("insert into victim values (1)")
    assert "\n-- forge: down" not in sql


def test_what_cannot_be_a_database_is_refused_with_the_name(schema):
    cases = {
        "a_b_c_idx": [
            schema.define("A", schema.field("b_c", index=True), table="a"),
            schema.define("B", schema.field("c", index=True), table="a_b"),
        ],
        "x" * 64: [schema.define("Thing", schema.field("x" * 64))],
        "a_tenant": [
            schema.define("A", table="a", tenant_scoped=True),
            schema.define("B", table="a_tenant"),
        ],
    }
    for name, resources in cases.items():
        with pytest.raises(BuildError, match=name) as caught:
            desired_sql(resources)
        assert caught.value.code == "F330"


@pytest.mark.db
def test_a_field_may_be_named_tenant_and_be_unique_in_one(conn, schema):
    thing = schema.define("Thing", schema.field("tenant", unique=True), tenant_scoped=True)
    conn.execute(desired_sql([thing]))
    names = "select conname from pg_constraint where conrelid = 'things'::regclass"
    assert {("things_tenant_key",), ("things_tenant_unique",)} <= set(conn.execute(names))


def test_no_resources_are_no_ddl():
    assert desired_sql([]) == ""
