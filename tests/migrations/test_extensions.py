"""Trigram indexes and the extension pg_trgm: its creation, and the messages for operators."""

from __future__ import annotations

import pytest
from forge_min.db import MigrationFile, migrate
from forge_min.errors import BuildError

pytestmark = pytest.mark.db

INDEXES = "select indexdef from pg_indexes where indexname = 'things_a_trgm'"
EXTENSION = "create extension if not exists pg_trgm;"
COUNT = "select count(*) from pg_extension where extname = 'pg_trgm'"


def searched(schema):
    return schema.define("Thing", schema.field("a", filterable=True, searchable=True))


def substring(schema):
    return schema.define("Thing", schema.field("a", filterable=True, searchable="substring"))


def test_the_first_migration_creates_the_extension_before_its_index(world, conn, schema):
    file = world.go(substring(schema))
    assert file.statements[0].endswith(EXTENSION.removesuffix(";"))
    assert file.sql.count(EXTENSION) == 1
    [[index]] = conn.execute(INDEXES).fetchall()
    assert index.endswith("USING gin (a gin_trgm_ops)")
    assert world.next(substring(schema)) is None
    world.down()
    assert conn.execute(COUNT).fetchone() == (1,), "other objects may use it"
    assert world.up() == [file.label]


def test_an_index_of_an_existing_table_is_built_while_clients_write(world, conn, schema):
    world.go(searched(schema))
    file = world.go(substring(schema))
    assert not file.transactional and file.sql.count(EXTENSION) == 1
    built = "create index concurrently things_a_trgm on things using gin (a gin_trgm_ops)"
    assert file.statements[-1].endswith(built)
    assert world.next(substring(schema)) is None
    world.down()
    assert conn.execute(INDEXES).fetchall() == []
    world.up()
    # Without the option the index goes, and the way back builds it again.
    file = world.go(searched(schema))
    assert "drop index things_a_trgm" in file.up and "gin_trgm_ops" in file.down
    world.down()
    assert len(conn.execute(INDEXES).fetchall()) == 1


def test_an_extension_of_a_hand_written_file_is_used(world, conn, schema):
    world.go(searched(schema))
    world.by_hand("0002_trigrams.sql", "create extension pg_trgm;")
    world.go(substring(schema))
    assert world.next(substring(schema)) is None
    assert len(conn.execute(INDEXES).fetchall()) == 1


def test_without_the_right_or_the_extension_the_hint_is_that_of_postgresql(world, conn, schema):
    ((name,),) = conn.execute("select current_database()").fetchall()
    world.next(substring(schema)).write()
    conn.execute(f'revoke create on database "{name}" from current_user')
    with pytest.raises(BuildError) as caught:
        world.up()
    assert caught.value.code == "F322" and "permission denied" in caught.value.message
    assert "CREATE privilege on current database" in caught.value.hint
    conn.execute(f'grant create on database "{name}" to current_user')
    world.up()
    missing = "create extension forge_unknown;"
    world.by_hand("0002_missing.sql", missing)
    error = world.refused(substring(schema))
    assert error.code == "F332" and '"forge_unknown" is not available' in error.message
    with pytest.raises(BuildError) as caught:
        migrate(conn, [MigrationFile("other", "0001_missing.sql", missing)])
    assert caught.value.code == "F322" and '"forge_unknown" is not available' in str(caught.value)
    for hint in (caught.value.hint, error.hint):
        assert hint == (
            "The extension must first be installed on the system where PostgreSQL is running."
        )
