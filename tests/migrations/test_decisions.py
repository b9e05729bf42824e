"""What a person decides: renames, removals, long locks. Nothing is guessed or half written."""

from __future__ import annotations

import pytest
from forge_min.db import connect

pytestmark = pytest.mark.db


@pytest.fixture
def things(world, schema):
    """A table with a row, before the changes."""
    world.go(schema.define("Thing", schema.field("old", max_len=9), schema.field("n", "int")))
    world.conn.execute("insert into things (old, n) values ('kept', 7)")
    return world


def test_a_likely_rename_is_asked_for_with_both_flags(things, schema):
    wanted = schema.define("Thing", schema.field("new", max_len=9), schema.field("n", "int"))
    err = things.refused(wanted)
    assert err.code == "F335"
    assert "--rename things.old=new" in err.hint and "--drop things.old" in err.hint


def test_a_rename_keeps_the_values(things, schema):
    wanted = schema.define("Thing", schema.field("new", max_len=9), schema.field("n", "int"))
    things.go(wanted, rename=["things.old=new"])
    assert things.conn.execute("select new, n from things").fetchall() == [("kept", 7)]
    things.down()
    assert things.conn.execute("select old, n from things").fetchall() == [("kept", 7)]


RENAMED = """\
-- forge: generated

alter table things rename to items;

alter table items rename column old to new;

alter table items rename constraint things_old_key to items_new_key;

alter table items rename constraint things_pkey to items_pkey;

-- forge: down
alter table items rename constraint items_pkey to things_pkey;

alter table items rename constraint items_new_key to things_old_key;

alter table items rename column new to old;

alter table items rename to things;
"""


def test_a_rename_is_what_a_person_would_write_and_leads_back(world, schema):
    def made(name, *fields):
        kept = [schema.field(f, required=True, unique=f in ("old", "new")) for f in fields]
        return schema.define(name, *kept)

    before, after = made("Thing", "old"), made("Item", "new")
    world.go(before)
    start = world.shape()
    file = world.go(after, rename=["things=items", "items.old=new"])
    assert file.sql == RENAMED
    assert world.shape() == world.shape_of(after) and world.next(after) is None
    world.go(before, rename=["items=things", "things.new=old"])
    assert world.shape() == start and world.next(before) is None
    world.down()
    assert world.shape() == world.shape_of(after)
    world.down()
    assert world.shape() == start


def test_names_are_free_again_after_a_rename(world, schema):
    """PostgreSQL 18 keeps the names of NOT NULL, things_old_not_null here; they must not clash."""
    field, define = schema.field, schema.define
    world.go(define("Thing", field("old", required=True)))
    moved = define("Item", field("new", required=True))
    world.go(moved, rename=["things=items", "items.old=new"])
    both = [
        define("Item", field("new", required=True), field("old", required=True, default="x")),
        define("Thing", field("old", required=True)),
    ]
    world.go(*both)
    assert world.shape() == world.shape_of(*both) and world.next(*both) is None
    world.go(
        define("Item", field("old", required=True)),
        both[1],
        drop=["items.new"],
        allow_destructive=True,
    )
    for wanted in (both, [moved]):
        world.down()
        assert world.shape() == world.shape_of(*wanted)


def test_a_file_that_renamed_the_names_of_not_null_still_counts(world, schema):
    """Earlier versions wrote such loops."""
    world.go(schema.define("Thing", schema.field("old", required=True)))
    loop = (
        "do $$ declare rule record; begin\n  for rule in select conname from pg_constraint"
        " where conrelid = 'things'::regclass and conname = 'things_old_not_null' loop\n"
        "  execute format('alter table public.%I rename constraint %I to %I', 'things',"
        " rule.conname, '{}');\n  end loop;\nend $$;\n"
    )
    world.by_hand(
        "0002_renamed.sql",
        "-- forge: generated\nalter table things rename column old to middle;\n"
        + loop.format("things_middle_not_null"),
    )
    world.up()
    wanted = schema.define("Thing", schema.field("new", required=True))
    world.go(wanted, rename=["things.middle=new"])
    assert world.shape() == world.shape_of(wanted) and world.next(wanted) is None


def test_a_renamed_table_keeps_its_rows(things, schema):
    wanted = schema.define("Item", schema.field("old", max_len=9), schema.field("n", "int"))
    assert things.refused(wanted).code == "F335"
    things.go(wanted, rename=["things=items"])
    assert things.conn.execute("select old, n from items").fetchall() == [("kept", 7)]


def test_on_a_terminal_the_question_is_put(things, schema):
    wanted = schema.define("Thing", schema.field("new", max_len=9), schema.field("n", "int"))
    asked = []

    def yes(question):
        asked.append(question)
        return True

    migration = things.next(wanted, ask=yes)
    assert asked == ["was things.old renamed to new?"]
    assert migration.changes[0] == "rename column old of things to new"
    assert things.refused(wanted, ask=lambda question: False).code == "F334"


def test_what_is_said_to_be_gone_is_dropped_only_with_the_flag(things, schema):
    wanted = schema.define("Thing", schema.field("new", max_len=9), schema.field("n", "int"))
    err = things.refused(wanted, drop=["things.old"])
    assert err.code == "F334" and "drop column things.old" in err.message
    things.go(wanted, drop=["things.old"], allow_destructive=True)
    assert things.conn.execute("select new, n from things").fetchall() == [(None, 7)]
    things.down()
    assert things.conn.execute("select old, n from things").fetchall() == [(None, 7)]


def test_decisions_about_nothing_are_named(things, schema):
    same = schema.define("Thing", schema.field("old", max_len=9), schema.field("n", "int"))
    err = things.refused(same, rename=["things.odl=new"], drop=["thing"])
    assert err.code == "F335" and "thing, things.odl=new" in err.message


def test_every_risk_is_listed_at_once(world, schema):
    field = schema.field
    world.go(
        schema.define(
            "Thing",
            field("gone"),
            field("narrow", max_len=9),
            field("wide", "int"),
            field("longer", max_len=3),
            field("more", "decimal", precision=(5, 2)),
        ),
        schema.define("Lost", field("a"), field("b"), field("c")),
    )
    wanted = [
        schema.define(
            "Thing",
            field("narrow", max_len=8),
            field("wide", "bigint"),
            field("longer", max_len=4),
            field("more", "decimal", precision=(7, 2)),
            timestamps=True,
        )
    ]
    err = world.refused(*wanted)
    assert err.code == "F334"
    for what in ("drop table losts", "column things.gone", "things.narrow", "rewrite table things"):
        assert what in err.message
    assert "longer" not in err.message and "things.more" not in err.message
    risks = world.next(*wanted, allow_destructive=True).risks
    assert {risk.kind for risk in risks} == {"destructive", "locking"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"max_len": 5}, {"max_len": 6}),
        ({"max_len": 5}, {}),
        ({"type": "decimal", "precision": (6, 2)}, {"type": "decimal", "precision": (8, 2)}),
        ({"type": "enum", "choices": ("a", "b")}, {"type": "enum", "choices": ("a", "c")}),
        ({"max_len": 5, "index": True}, {"type": "text", "index": True}),
        ({}, {"required": True, "unique": True, "min_len": 3}),
    ],
)
def test_what_neither_loses_nor_locks_is_no_risk(world, schema, before, after):
    world.go(schema.define("Thing", schema.field("a", **before)))
    assert world.next(schema.define("Thing", schema.field("a", **after))).risks == ()


def test_a_search_on_a_table_that_is_there_writes_it_anew(things, schema):
    wanted = schema.define(
        "Thing", schema.field("old", max_len=9, searchable=True), schema.field("n", "int")
    )
    assert "rewrite table things" in things.refused(wanted).message
    things.go(wanted, allow_destructive=True)
    query = "select n from things where forge_search @@ websearch_to_tsquery('simple', 'KEPT')"
    assert things.conn.execute(query).fetchall() == [(7,)]


def test_values_survive_a_change_of_type(things, schema):
    wanted = schema.define("Thing", schema.field("old", "text"), schema.field("n", "decimal"))
    things.go(wanted, allow_destructive=True)
    assert things.conn.execute("select old, n::text from things").fetchall() == [("kept", "7")]


def test_a_string_that_does_not_fit_stops_the_migration_and_loses_nothing(things, schema):
    wanted = schema.define("Thing", schema.field("old", max_len=3), schema.field("n", "int"))
    things.next(wanted, allow_destructive=True).write()
    with pytest.raises(Exception, match="too long"):
        things.up()
    assert things.conn.execute("select old, n from things").fetchall() == [("kept", 7)]


def test_a_required_column_without_a_default_is_refused_with_what_to_do(things, schema):
    same = [schema.field("old", max_len=9), schema.field("n", "int")]
    err = things.refused(schema.define("Thing", *same, schema.field("must", "int", required=True)))
    assert err.code == "F336" and "things.must" in err.message and "default" in err.hint


def test_a_primary_key_is_changed_by_hand(world, schema):
    world.go(schema.define("Thing", schema.field("code", required=True)))
    wanted = schema.define("Thing", schema.field("code", primary_key=True))
    err = world.refused(wanted, allow_destructive=True)
    assert err.code == "F331" and "the key of things" in err.message


def test_tenants_for_a_table_that_is_there_need_a_person_then_the_rest_follows(world, schema):
    def shop(**options):
        account = schema.define("Account", schema.field("a", unique=True), **options)
        order = schema.define("Order", schema.belongs_to("account", "Account"), **options)
        return account, order

    world.go(*shop())
    world.conn.execute("insert into accounts (a) values ('x')")
    world.conn.execute("insert into orders (account_id) select id from accounts")
    err = world.refused(*shop(tenant_scoped=True))
    assert err.code == "F336" and "orders.tenant_id" in err.message
    assert "-- forge: generated" in err.hint and "NOT NULL" in err.hint
    fill = "".join(
        f"alter table {table} add column tenant_id uuid not null default gen_random_uuid();\n"
        f"update {table} set tenant_id = '00000000-0000-7000-8000-000000000001';\n"
        f"alter table {table} alter tenant_id drop default;\n"
        for table in ("accounts", "orders")
    )
    world.by_hand("0002_tenants.sql", f"-- forge: generated\n{fill}")
    world.up()
    start = world.shape()
    world.go(*shop(tenant_scoped=True))
    assert world.shape() == world.shape_of(*shop(tenant_scoped=True))
    assert world.conn.execute("select count(*) from orders").fetchone() == (1,)
    world.down()
    assert world.shape() == start


def test_null_where_a_value_is_required_stops_and_goes_on_when_it_is_mended(world, schema):
    world.go(schema.define("Thing", schema.field("a")))
    world.conn.execute("insert into things default values")
    wanted = schema.define("Thing", schema.field("a", required=True))
    world.next(wanted).write()
    with pytest.raises(Exception, match="things_a_present"):
        world.up()
    world.conn.execute("update things set a = 'mended'")
    world.up()
    assert world.shape() == world.shape_of(wanted)


def test_a_column_that_comes_back_is_required_again_only_where_no_row_lacks_it(world, schema):
    world.go(schema.define("Thing", schema.field("a", required=True)))
    start = world.shape()
    world.go(schema.define("Thing"), allow_destructive=True)
    world.down()
    assert world.shape() == start
    world.up()
    world.conn.execute("insert into things default values")
    world.down()
    assert world.conn.execute("select a from things").fetchall() == [(None,)]


def test_what_was_made_by_hand_and_would_go_along_is_a_risk(world, schema):
    world.go(schema.define("Thing", schema.field("a"), schema.field("b")))
    world.by_hand("0002_lower.sql", "create index lower_a on things (lower(a));")
    world.up()
    err = world.refused(schema.define("Thing", schema.field("b")))
    assert "drop index lower_a of things (a hand-written migration created it)" in err.message


def test_a_view_made_by_hand_on_what_would_go_is_named_by_postgresql(world, schema):
    world.go(schema.define("Thing", schema.field("a"), schema.field("b")))
    world.by_hand("0002_view.sql", "create view named as select a from things;")
    world.up()
    err = world.refused(schema.define("Thing", schema.field("b")), allow_destructive=True)
    assert err.code == "F331" and "view named depends on" in err.message


def test_hand_written_files_stay_on_both_sides_through_renames(world, schema):
    world.go(schema.define("Thing", schema.field("old"), schema.field("x", "int")))
    world.by_hand(
        "0002_own.sql",
        "create index lower_old on things (lower(old));\n"
        "update things set x = 1 where old is null;\n"
        "create table extra (id int primary key);\n"
        "create function twice(n int) returns int language sql as 'select n * 2';\n",
    )
    world.up()
    wanted = schema.define("Item", schema.field("new"), schema.field("x", "int"))
    world.go(wanted, rename=["things=items", "items.old=new"])
    assert world.next(wanted) is None
    query = "select indexdef from pg_indexes where indexname = 'lower_old'"
    assert "items" in world.conn.execute(query).fetchone()[0]
    assert world.conn.execute("select twice(2), (select count(*) from extra)").fetchone() == (4, 0)


def test_a_default_set_by_hand_is_kept(world, schema):
    thing = schema.define("Thing", schema.field("a"))
    world.go(thing)
    world.by_hand("0002_own.sql", "alter table things alter a set default 'mine';")
    assert world.next(thing) is None


def test_grants_on_a_tenants_view_outlive_its_making_anew(world, schema):
    first = schema.define("Thing", schema.field("a"), tenant_scoped=True)
    world.go(first)
    world.by_hand("0002_grant.sql", "grant select on things_tenant to public;")
    world.up()
    world.go(schema.define("Thing", schema.field("a"), schema.field("b"), tenant_scoped=True))
    query = "select relacl::text from pg_class where relname = 'things_tenant'"
    assert ",=r/" in world.conn.execute(query).fetchone()[0].replace("{=r", ",=r")


def test_grants_outlive_renames_and_anything_after_them(world, schema):
    def thing(name, *fields, **options):
        made = [schema.field(field) for field in fields]
        return schema.define(name, *made, tenant_scoped=True, **options)

    def granted():
        query = (
            "select r.rolname, a.privilege_type, a.is_grantable from pg_class c,"
            " aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee"
            " where c.relname like '%_tenant' and c.relkind = 'v' and r.rolname like 'reader_%'"
        )
        return sorted(world.conn.execute(query).fetchall())

    with connect(world.server.admin_url) as admin:
        for role in ("reader_one", "reader_two"):
            admin.execute(f"create role {role}")
        try:
            world.go(thing("Alpha", "a", "b"))
            world.by_hand(
                "0002_grant.sql",
                "grant select on alphas_tenant to reader_one;\n"
                "grant select, update on alphas_tenant to reader_two with grant option;\n",
            )
            world.up()
            before = granted()
            assert len(before) == 3
            world.go(thing("Alpha", "a", "b", "c"))
            assert granted() == before
            world.go(thing("Bee", "a", "b", "c"), rename=["alphas=bees"])
            assert granted() == before
            world.go(thing("Bee", "a", "b", "c", "d"))
            assert granted() == before
            world.go(thing("Cee", "a", "b", "c", "d"), rename=["bees=cees"])
            assert granted() == before and world.next(thing("Cee", "a", "b", "c", "d")) is None
            for _ in range(4):
                world.down()
                assert granted() == before
        finally:
            for view in ("alphas_tenant", "bees_tenant", "cees_tenant"):
                world.conn.execute(f"drop view if exists {view}")
            admin.execute("drop role reader_one, reader_two")


def test_an_edited_file_is_named(things):
    path = things.root / "migrations" / things.files()[0].name
    path.write_text(path.read_text().replace("varchar(9)", "varchar(8)"))
    with pytest.raises(Exception, match=r"0001_initial\.sql was changed after it was applied"):
        things.up()


def test_the_same_change_gives_the_same_file_every_time(world, schema):
    world.go(schema.define("Thing", schema.field("a")))
    members = [schema.field(f"c{n}", "int", min=n, unique=True) for n in range(9)]
    texts = {world.next(schema.define("Thing", schema.field("a"), *members)).sql for _ in range(3)}
    assert len(texts) == 1
