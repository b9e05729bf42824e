"""diff: each file it writes leads exactly to what the schemas ask for, and it never pretends."""

from __future__ import annotations

import importlib
import threading
import time

import pytest
from forge_min.db import connect, migrate, read_migrations
from forge_min.errors import BuildError
from forge_min.migrations import desired_sql, diff


def test_without_resources_or_files_nothing_is_missing(tmp_path):
    assert diff(tmp_path, [], []) is None


def test_the_first_migration_needs_no_database_and_is_written_whole(tmp_path, schema):
    thing = schema.define("Thing", schema.field("a"))
    migration = diff(tmp_path, [thing], [])
    assert migration is not None and not (tmp_path / "migrations").exists()
    assert migration.changes == ("create table things",)
    path = migration.write()
    assert path == tmp_path / "migrations" / "0001_initial.sql"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    [file] = read_migrations(path.parent)
    assert file.generated and file.transactional
    assert desired_sql([thing]).strip() in file.up
    with pytest.raises(BuildError) as caught:
        migration.write()
    assert caught.value.code == "F333"


def test_with_generated_files_a_database_is_needed(tmp_path, schema):
    thing = schema.define("Thing")
    diff(tmp_path, [thing], []).write()
    with pytest.raises(BuildError) as caught:
        diff(tmp_path, [thing], read_migrations(tmp_path / "migrations"))
    assert caught.value.code == "F332"


@pytest.mark.db
def test_up_and_down_of_the_first_migration(world, conn, schema):
    hen = schema.define("Hen", schema.belongs_to("egg", "Egg"))
    egg = schema.define("Egg", schema.belongs_to("hen", "Hen"), schema.field("a", unique=True))
    world.next(hen, egg).write()
    world.up()
    assert world.shape() == world.shape_of(hen, egg)
    assert world.next(egg, hen) is None
    world.down()
    assert world.shape() == world.shape_of()


@pytest.mark.db
def test_new_tables_columns_and_indexes_are_added(world, conn, schema):
    first = [schema.define("Thing", schema.field("old"))]
    world.next(*first).write()
    world.up()
    conn.execute("insert into things (old) values ('kept')")
    second = [
        schema.define(
            "Thing",
            schema.field("old", sortable=True),
            schema.field("size", "int", min=1, index=True),
            schema.field("state", "enum", choices=("a", "b"), default="a", required=True),
            schema.field("code", unique=True),
            schema.belongs_to("owner", "Person"),
        ),
        schema.define("Person", schema.belongs_to("best", "Thing", on_delete="set_null")),
    ]
    migration = world.next(*second)
    assert migration.path.name.startswith("0002_")
    assert set(migration.changes) >= {"create table persons", "add column size to things"}
    migration.write()
    assert not world.files()[-1].transactional
    world.up()
    assert world.shape() == world.shape_of(*second)
    assert conn.execute("select old, state from things").fetchall() == [("kept", "a")]
    assert world.next(*second) is None
    world.down()
    assert world.shape() == world.shape_of(*first)


@pytest.mark.db
def test_new_columns_and_tables_alone_are_one_transaction(world, schema):
    world.next(schema.define("Thing")).write()
    migration = world.next(schema.define("Thing", schema.field("a")), schema.define("Other"))
    migration.write()
    assert world.files()[-1].transactional


@pytest.fixture
def busy(world, conn, schema, fresh_database, monkeypatch):
    """A table with a row that is not committed yet, and the next migration: an index on it."""
    monkeypatch.setattr(importlib.import_module("forge_min.db.migrate"), "TABLE_WAIT", 0.1)
    wanted = schema.define("Thing", schema.field("old", sortable=True))
    world.next(schema.define("Thing", schema.field("old"))).write()
    world.up()
    world.next(wanted).write()

    class Busy:
        builder = connect(fresh_database.owner_url)
        holder = connect(fresh_database.owner_url)
        resource = wanted

        def run(self):
            try:
                migrate(self.builder, world.files())
            except BaseException as err:
                self.errors.append(err)

        def until_it_waits(self):
            """For longer than a statement may wait for a table."""
            query = "select wait_event_type from pg_stat_activity where pid = %s and query ilike %s"
            query += " and query_start < clock_timestamp() - interval '0.3 s'"
            values = [self.builder.info.backend_pid, "create index concurrently%"]
            deadline = time.monotonic() + 20
            while conn.execute(query, values).fetchone() != ("Lock",):
                assert time.monotonic() < deadline and self.thread.is_alive()

    busy = Busy()
    busy.errors = []
    with busy.builder, busy.holder:
        busy.holder.execute("begin; insert into things (old) values ('held')")
        busy.thread = threading.Thread(target=busy.run)
        busy.thread.start()
        busy.until_it_waits()
        try:
            yield busy
        finally:
            busy.holder.execute("rollback")
            busy.thread.join(20)


@pytest.mark.db
def test_writers_go_on_while_an_index_is_built(world, busy, conn):
    conn.execute("set lock_timeout = '2s'")
    conn.execute("insert into things (old) values ('meanwhile')")
    query = "select mode from pg_locks where relation = 'things'::regclass and pid = %s"
    modes = {row[0] for row in conn.execute(query, [busy.builder.info.backend_pid])}
    assert modes == {"ShareUpdateExclusiveLock"}
    busy.holder.execute("commit")
    busy.thread.join(20)
    assert busy.errors == []
    assert world.shape() == world.shape_of(busy.resource)


@pytest.mark.db
def test_a_build_that_was_ended_is_begun_anew(world, busy, conn):
    conn.execute("select pg_terminate_backend(%s)", [busy.builder.info.backend_pid])
    busy.thread.join(20)
    assert [type(err) for err in busy.errors] == [BuildError]
    busy.holder.execute("commit")
    query = "select indisvalid from pg_index where indexrelid = 'things_old_idx'::regclass"
    assert conn.execute(query).fetchone() == (False,)
    world.up()
    assert conn.execute(query).fetchone() == (True,)
    assert world.shape() == world.shape_of(busy.resource)


@pytest.mark.db
def test_present_rows_are_checked_while_others_write(world, conn, schema):
    world.next(schema.define("Thing")).write()
    world.up()
    size = schema.field("size", "int", min=1)
    world.next(schema.define("Thing", size, schema.belongs_to("up", "Thing"))).write()
    query = "select distinct mode from pg_locks where pid = pg_backend_pid()"
    query += " and relation = 'things'::regclass"
    seen = []
    for statement in world.files()[-1].statements:
        if "concurrently" in statement:
            conn.execute(statement)
            continue
        with conn.transaction():
            conn.execute(statement)
            modes = {row[0] for row in conn.execute(query)}
        if "validate" in statement:
            seen.append(statement)
            assert modes <= {"ShareUpdateExclusiveLock", "AccessShareLock", "RowShareLock"}
        else:
            assert " check " not in statement or "not valid" in statement
    assert len(seen) == 2


@pytest.mark.db
def test_the_name_can_be_given(world, schema):
    world.next(schema.define("Thing"), name="the Beginning!").write()
    assert [file.name for file in world.files()] == ["0001_the_beginning.sql"]


@pytest.mark.db
def test_a_hand_written_file_counts_for_both_sides(world, conn, schema):
    thing = schema.define("Thing", schema.field("lat", "int"), schema.field("lon", "int"))
    world.next(thing).write()
    world.by_hand(
        "0002_nearest.sql",
        "-- forge: no transaction\n"
        "create index concurrently things_place on things (lat, lon);\n"
        "create table extra (id int);\n",
    )
    assert world.next(thing) is None
    world.up()
    conn.execute("insert into extra values (1)")


@pytest.mark.db
def test_a_change_written_by_hand_under_the_generated_head_is_taken_over(world, schema):
    world.next(schema.define("Thing", schema.field("old", "int"))).write()
    renamed = schema.define("Thing", schema.field("new", "int"))
    assert "old=new" in world.refused(renamed).message
    world.by_hand("0002_rename.sql", "-- forge: generated\nalter table things rename old to new;")
    assert world.next(renamed) is None


@pytest.mark.db
def test_a_file_that_fails_is_named(world, schema):
    world.next(schema.define("Thing")).write()
    world.by_hand("0002_broken.sql", "select 1;\nselect no_such_thing;")
    with pytest.raises(BuildError, match=r"0002_broken\.sql") as caught:
        world.next(schema.define("Thing"))
    assert caught.value.code == "F332"


@pytest.mark.db
def test_no_scratch_database_stays(world, conn, schema):
    world.next(schema.define("Thing")).write()
    world.by_hand("0002_broken.sql", "select no_such_thing;")
    query = "select datname from pg_database where starts_with(datname, 'forge_scratch_')"
    before = set(conn.execute(query))
    with pytest.raises(BuildError):
        world.next(schema.define("Thing"))
    assert set(conn.execute(query)) <= before


@pytest.mark.db
def test_present_rows_are_found_to_have_a_value_while_others_write(world, conn, schema):
    world.go(schema.define("Thing", schema.field("a")))
    world.next(schema.define("Thing", schema.field("a", required=True))).write()
    validate = [s for s in world.files()[-1].statements if "validate" in s]
    query = "select distinct mode from pg_locks where pid = pg_backend_pid()"
    query += " and relation = 'things'::regclass"
    for statement in world.files()[-1].statements:
        with conn.transaction():
            conn.execute(statement)
            modes = {row[0] for row in conn.execute(query)}
        assert statement not in validate or modes <= {"ShareUpdateExclusiveLock", "AccessShareLock"}
    assert len(validate) == 1


@pytest.mark.db
def test_a_replaced_unique_rule_holds_until_the_new_one_does(world, conn, schema):
    code = schema.field("code", unique=True)
    world.go(schema.define("Thing", code))
    world.next(schema.define("Thing", code, soft_delete=True)).write()
    query = "select count(*) from pg_index where indrelid = 'things'::regclass"
    query += " and indisunique and indisvalid and indnatts = 1 and not indisprimary"
    for statement in world.files()[-1].statements:
        conn.execute(statement)
        assert conn.execute(query).fetchone()[0] >= 1


@pytest.mark.db
def test_two_that_migrate_at_once_do_it_once(world, fresh_database, schema):
    world.go(schema.define("Thing", schema.field("a")))
    wanted = schema.define("Thing", schema.field("a", unique=True, required=True, max_len=5))
    world.next(wanted, allow_destructive=True).write()
    done = []

    def up():
        with connect(fresh_database.owner_url) as conn:
            done.append(migrate(conn, world.files()))

    threads = [threading.Thread(target=up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(len, done)) == [0, 0, 0, 1]
    assert world.shape() == world.shape_of(wanted)


@pytest.mark.db
def test_what_is_half_applied_goes_on_from_any_statement(world, conn, fresh_database, schema):
    code = schema.field("code", unique=True)
    world.go(schema.define("Thing", code))
    wanted = schema.define(
        "Thing", code, schema.field("n", "int", min=1, index=True), soft_delete=True
    )
    world.next(wanted).write()
    file = world.files()[-1]
    for number in range(1, len(file.statements)):
        broken = ";\n".join([*file.statements[:number], "select no_such_thing"])
        (world.root / "migrations" / file.name).write_text(f"{broken};\n")
        with pytest.raises(BuildError, match="no_such_thing"):
            world.up()
    (world.root / "migrations" / file.name).write_text(file.sql)
    world.up()
    assert world.shape() == world.shape_of(wanted)
