"""Hand-written files beside generated ones, and what a file leaves that stopped half way."""

from __future__ import annotations

import threading

import pytest
from forge_min.db import connect
from forge_min.errors import BuildError, ForgeError
from forge_min.sql_files import digest

pytestmark = pytest.mark.db


def test_a_column_or_table_that_a_hand_written_file_dropped_is_missed(world, schema):
    thing = schema.define("Thing", schema.field("a", max_len=9), schema.field("n", "int"))
    item = schema.define("Item", schema.field("b", index=True))
    world.go(thing, item)
    world.by_hand("0002_less.sql", "alter table things drop column n;\ndrop table items;\n")
    world.up()
    found = world.next(thing, item)
    assert {"add column n to things", "create table items"} <= set(found.changes)
    world.go(thing, item)
    assert world.next(thing, item) is None
    assert world.shape()[0] == world.shape_of(thing, item)[0]


def test_a_file_that_comes_before_the_first_schema_counts(world, schema):
    world.by_hand("0001_notes.sql", "create table notes (id int primary key);\n")
    thing = schema.define("Thing", schema.field("a"))
    world.go(thing)
    assert world.next(thing) is None
    assert world.conn.execute("select count(*) from notes").fetchone() == (0,)


def test_a_trial_leaves_roles_of_the_server_alone(world, schema):
    world.go(schema.define("Thing", schema.field("a", max_len=9)))
    roles = "select array_agg(rolname order by rolname) from pg_roles"
    with connect(world.server.admin_url) as admin:
        admin.execute("create role old_reader")
        try:
            before = admin.execute(roles).fetchone()
            text = "-- who reads\ncreate role new_reader;\ngrant select on things to new_reader;\n"
            world.by_hand("0002_role.sql", text + "drop role if exists old_reader;\n")
            assert world.next(schema.define("Thing", schema.field("a", max_len=9))) is None
            wider = schema.define("Thing", schema.field("a", max_len=20))
            assert world.next(wider) is not None
            assert admin.execute(roles).fetchone() == before
        finally:
            admin.execute("drop role old_reader")


def test_another_mistake_in_a_hand_written_file_is_told(world, schema):
    world.go(schema.define("Thing", schema.field("a")))
    world.by_hand("0002_wrong.sql", "grant select on nothing to public;\n")
    err = world.refused(schema.define("Thing", schema.field("a"), schema.field("b")))
    assert err.code == "F332" and "0002_wrong.sql" in err.message


def test_a_half_applied_requirement_goes_down_and_up_again(world, schema):
    world.go(schema.define("Thing", schema.field("a", max_len=9)))
    before = world.shape()
    world.conn.execute("insert into things (a) values (null)")
    wanted = schema.define("Thing", schema.field("a", max_len=9, required=True))
    world.next(wanted).write()
    with pytest.raises(BuildError):
        world.up()
    world.down()
    assert world.shape() == before
    world.conn.execute("update things set a = 'x'")
    world.up()
    assert world.next(wanted) is None


@pytest.mark.parametrize("is_swap", [False, True], ids=["a new index", "for a partial one"])
def test_a_half_applied_unique_field_leaves_no_index_behind(world, schema, is_swap):
    first = schema.field("a", unique=is_swap)
    world.go(schema.define("Thing", first, soft_delete=is_swap))
    before = world.shape()
    wanted = schema.define("Thing", schema.field("a", unique=True))
    world.next(wanted, allow_destructive=is_swap).write()
    file = world.files()[-1]
    built = next(n for n, s in enumerate(file.statements) if "create unique index" in s)
    for statement in file.statements[: built + 1]:
        world.conn.execute(statement)
    note = "insert into forge_migration (source, name, checksum, steps)"
    done = digest("\n;\n".join(file.statements[: built + 1]))
    world.conn.execute(f"{note} values ('app', %s, %s, %s)", [file.name, done, built + 1])
    world.down()
    assert world.shape() == before
    world.up()
    assert world.shape() == world.shape_of(wanted)
    world.down()
    assert world.shape() == before


@pytest.mark.thorough
@pytest.mark.parametrize("at_once", [True, False], ids=["now", "by an earlier file"])
def test_what_was_made_by_hand_outlives_a_rename(world, schema, at_once):
    def thing(name, field, length, **options):
        return schema.define(
            name, schema.field(field, max_len=length), schema.field("n"), **options
        )

    world.go(thing("Alpha", "a", 5))
    world.by_hand(
        "0002_own.sql",
        "alter table alphas alter a set default 'zz';\n"
        "create index own on alphas (lower(a));\n"
        "create view glance as select n from alphas;\n",
    )
    world.up()
    if at_once:
        world.go(thing("Bee", "b", 9), rename=["alphas=bees", "bees.a=b"], allow_destructive=True)
    else:
        world.go(thing("Bee", "a", 5), rename=["alphas=bees"])
        world.go(thing("Bee", "b", 5), rename=["bees.a=b"])
        assert world.next(thing("Bee", "b", 5)) is None
        world.go(thing("Bee", "b", 5, timestamps=True))
    row = world.conn.execute("insert into bees default values returning b").fetchone()
    assert row == ("zz",)
    made = "select count(*) from pg_indexes where indexname = 'own'"
    assert world.conn.execute(made).fetchone() == (1,)


def test_a_table_made_by_hand_may_become_a_resource(world, schema):
    world.go(schema.define("Thing", schema.field("a")))
    made = "create table betas (id uuid primary key default forge_uuid7(), x text);\n"
    world.by_hand("0002_betas.sql", made)
    world.up()
    beta = schema.define("Beta", schema.field("x", "text"))
    thing = schema.define("Thing", schema.field("a"))
    world.go(thing, beta)
    assert world.next(thing, beta) is None
    more = schema.define("Beta", schema.field("x", "text"), schema.field("y", "int"))
    world.go(thing, more)
    assert world.next(thing, more) is None


def test_a_key_that_was_changed_by_hand_is_the_schemas_from_then_on(world, schema):
    world.go(schema.define("Alpha", schema.field("code", required=True), schema.field("n", "int")))
    wanted = schema.define(
        "Alpha", schema.field("code", primary_key=True), schema.field("n", "int")
    )
    (parts,) = [file.sql for file in world.files()[-1:]]
    world.by_hand(
        "0002_key.sql",
        "alter table alphas drop constraint alphas_pkey, drop column id;\n"
        "alter table alphas add constraint alphas_pkey primary key (code);\n",
    )
    assert "alphas" in parts
    world.up()
    more = schema.define(
        "Alpha", schema.field("code", primary_key=True), schema.field("n", "int"), schema.field("m")
    )
    for each in (wanted, more, more):
        found = world.next(each, allow_destructive=True)
        if found is not None:
            found.write()
            world.up()
    assert world.next(more) is None


def test_a_default_of_many_lines_stays_in_its_literal(world, schema):
    text = "x\n-- forge: down\ny\x1b[31m'\\"
    world.go(schema.define("Thing", schema.field("a", max_len=50)))
    wanted = schema.define("Thing", schema.field("a", max_len=50, default=text))
    file = world.go(wanted)
    assert not [line for line in file.sql.splitlines() if line.startswith("y")]
    world.go(schema.define("Thing", schema.field("a", max_len=60, default=text)))
    row = world.conn.execute("insert into things default values returning a").fetchone()
    assert row == (text,)
    world.down()
    world.down()


def test_a_longer_slug_reads_no_row_under_a_lock(world, schema):
    world.go(schema.define("Thing", schema.field("a", "slug")))
    wanted = schema.define("Thing", schema.field("a", "slug", max_len=200))
    world.next(wanted).write()
    notices: list[str] = []
    world.conn.add_notice_handler(lambda said: notices.append(said.message_primary or ""))
    found = world.files()[-1]
    (check,) = [s for s in found.statements if "validate" in s]
    locked = [s for s in found.statements if s != check]
    world.conn.execute("set client_min_messages = debug1")
    for statement in locked:
        world.conn.execute(statement)
    assert not [said for said in notices if "verifying table" in said]
    world.conn.execute(check)
    world.conn.execute("set client_min_messages = notice")
    assert world.shape() == world.shape_of(wanted)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_table_in_use_keeps_nobody_else_waiting_for_long(world, schema, monkeypatch):
    """The second of two tables is in use; who reads the first gets through between the tries."""
    world.go(schema.define("A", table="as"), schema.define("C", table="cs"))
    world.next(
        schema.define("A", schema.field("x"), table="as"),
        schema.define("C", schema.field("x"), table="cs"),
    ).write()
    with connect(world.database.owner_url) as user, connect(world.database.owner_url) as reader:
        user.execute("begin; select * from cs")
        reader.execute("set lock_timeout = '3s'")
        failed: list[Exception] = []
        thread = threading.Thread(target=lambda: _fails(world, failed))
        thread.start()
        while thread.is_alive():
            reader.execute('select * from "as"')
        thread.join()
    assert [getattr(err, "code", "") for err in failed] == ["F326"]


def _fails(world, failed: list[Exception]) -> None:
    try:
        world.up()
    except ForgeError as err:
        failed.append(err)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "max_len": 9}, {"type": "string", "max_len": 30}),
        ({"type": "int"}, {"type": "bigint"}),
        ({"type": "decimal", "precision": (5, 2)}, {"type": "decimal", "precision": (9, 2)}),
        ({"type": "string"}, {"type": "email"}),
    ],
)
def test_a_rename_is_asked_for_also_where_the_type_grew(world, schema, old, new):
    world.go(schema.define("Thing", schema.field("titel", **old)))
    err = world.refused(schema.define("Thing", schema.field("title", **new)))
    assert err.code == "F335" and "things.titel=title" in err.hint


def test_a_rename_of_a_table_is_asked_for_also_where_it_grew(world, schema):
    own = [schema.field(name) for name in ("a", "b", "c")]
    more = [schema.field(name, "int") for name in ("d", "e", "f", "g")]
    world.go(schema.define("Person", *own, table="people"))
    err = world.refused(schema.define("Customer", *own, *more), allow_destructive=True)
    assert err.code == "F335" and "people=customers" in err.hint
