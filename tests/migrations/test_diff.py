"""diff: each file it writes leads exactly to what the schemas ask for, and it never pretends."""

from __future__ import annotations

from functools import partial

import pytest

from forge_min.db import (
    FORGE_MIGRATIONS,
    migrate,
    migrate_down,
    read_migrations,
    scratch_database,
)
from forge_min.errors import BuildError
from forge_min.migrations import desired_sql, diff
from forge_min.migrations.catalog import read_catalog


@pytest.fixture
def world(tmp_path, fresh_database, conn, schema):
    """A project: `next(resources)` gives the next migration, `up()` applies all files."""

    class World:
        root = tmp_path

        def files(self):
            return read_migrations(tmp_path / "migrations")

        def next(self, *resources, **options):
            scratch = partial(scratch_database, fresh_database.owner_url)
            files = self.files()
            return diff(
                tmp_path, resources, files, base=FORGE_MIGRATIONS, scratch=scratch, **options
            )

        def up(self):
            return migrate(conn, self.files())

        def by_hand(self, name, text):
            (tmp_path / "migrations").mkdir(exist_ok=True)
            (tmp_path / "migrations" / name).write_text(text)

        def leads_to(self, *resources):
            with scratch_database(fresh_database.owner_url) as other:
                migrate(other, FORGE_MIGRATIONS)
                other.execute(desired_sql(resources))
                return read_catalog(other) == read_catalog(conn)

    return World()


def refused(world, *resources) -> str:
    with pytest.raises(BuildError) as caught:
        world.next(*resources)
    assert caught.value.code == "F331"
    return caught.value.message


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
    assert world.leads_to(hen, egg)
    assert world.next(egg, hen) is None
    migrate_down(conn, world.files())
    assert world.leads_to()


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
    assert {risk.kind for risk in migration.risks} == {"lock"}
    assert any("things_old_idx" in risk.step for risk in migration.risks)
    migration.write()
    world.up()
    assert world.leads_to(*second)
    assert conn.execute("select old, state from things").fetchall() == [("kept", "a")]
    assert world.next(*second) is None
    migrate_down(conn, world.files())
    assert world.leads_to(*first)


@pytest.mark.db
def test_the_name_can_be_given(world, schema):
    world.next(schema.define("Thing"), name="the Beginning!").write()
    assert [file.name for file in world.files()] == ["0001_the_beginning.sql"]


@pytest.mark.db
def test_changes_that_need_a_person_are_refused_all_at_once(world, schema):
    field, define = schema.field, schema.define
    world.next(
        define(
            "Thing",
            field("typed", "int"),
            field("wider", max_len=5),
            field("needed"),
            field("gone"),
            field("limited", "int", min=1),
            field("indexed", index=True),
            field("preset", default="a"),
        ),
        define("Lost"),
    ).write()
    before = [file.name for file in world.files()]
    message = refused(
        world,
        define(
            "Thing",
            field("typed", "text"),
            field("wider", max_len=6),
            field("needed", required=True),
            field("limited", "int", min=2),
            field("indexed"),
            field("preset", default="b"),
            field("mandatory", required=True),
            field("fine"),
        ),
    )
    for name in ("typed", "wider", "needed", "gone", "limited", "indexed", "preset", "mandatory"):
        assert name in message
    assert "table losts is gone" in message
    assert "fine" not in message
    assert [file.name for file in world.files()] == before


@pytest.mark.db
def test_a_new_rule_for_an_old_column_is_refused(world, schema):
    world.next(schema.define("Thing", schema.field("a"))).write()
    assert "things_a_key" in refused(world, schema.define("Thing", schema.field("a", unique=True)))


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
def test_a_change_written_by_hand_under_the_generated_head_is_taken_over(world, conn, schema):
    world.next(schema.define("Thing", schema.field("old", "int"))).write()
    renamed = schema.define("Thing", schema.field("new", "int"))
    assert "old" in refused(world, renamed)
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
    with pytest.raises(BuildError):
        world.next(schema.define("Thing"))
    query = "select datname from pg_database where starts_with(datname, 'forge_scratch_')"
    assert conn.execute(query).fetchall() == []
