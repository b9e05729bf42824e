"""Short ways to write the IR of a resource, and a project whose migrations are made and applied."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from forge_min.db import (
    Connection,
    EmbeddedServer,
    MigrationFile,
    connect,
    migrate,
    migrate_down,
    read_migrations,
)
from forge_min.errors import BuildError
from forge_min.migrations import Decisions, Migration, desired_sql, diff
from forge_min.migrations.objects import read_catalog
from forge_min.parse import resolve
from forge_min.parse.ir import ColumnIR, ResourceIR
from forge_min.schema import Many
from forge_min.testing import TestDatabase
from forge_min.testing import fresh_database as make_fresh_database


class Schema:
    """What the DSL would say, as IR."""

    @staticmethod
    def field(name: str, type: Any = "string", **options: Any) -> ColumnIR:
        """A field."""
        if options.get("primary_key"):
            options |= {"required": True, "unique": True}
        return ColumnIR(name, type, **options)

    @staticmethod
    def belongs_to(name: str, target: str, **options: Any) -> ColumnIR:
        """A relation."""
        return ColumnIR(name, "uuid", target, **options)

    @staticmethod
    def many_to_many(name: str, target: str, table: str = "") -> Many:
        """A relation through a join table."""
        return Many("many_to_many", target, name, table=table)

    @staticmethod
    def define(name: str, *members: ColumnIR | Many, table: str = "", **options: Any) -> ResourceIR:
        """A resource; its table is the name in lower case with an s."""
        plural = table or name.lower() + "s"
        source = f"resources/{name.lower()}/schema.py"
        many = tuple(m for m in members if isinstance(m, Many))
        own = tuple(m for m in members if not isinstance(m, Many))
        path = plural.replace("_", "-")
        return ResourceIR(name, name.lower(), plural, path, source, own, many=many, **options)


class World:
    """A project and its database: `next(resources)` gives the next migration, `up()` applies all.

    pg_dump: the program; "" where there is none, None where it is not asked.
    """

    made: ClassVar[dict[tuple[str, str], tuple[object, str]]] = {}

    def __init__(
        self, root: Path, server: EmbeddedServer, database: TestDatabase, pg_dump: str | None
    ) -> None:
        self.root, self.server, self.database, self.pg_dump = root, server, database, pg_dump
        self.conn = connect(database.owner_url)

    def files(self) -> list[MigrationFile]:
        """The project's migration files."""
        return read_migrations(self.root / "migrations")

    def next(
        self,
        *resources: ResourceIR,
        rename: Sequence[str] = (),
        drop: Sequence[str] = (),
        ask: Any = None,
        **options: Any,
    ) -> Migration | None:
        """The migration that is missing."""
        return diff(
            self.root,
            resolve(resources),
            self.files(),
            scratch=self._scratch,
            decisions=Decisions(rename, drop, ask),
            **options,
        )

    @contextmanager
    def _scratch(self) -> Iterator[Connection]:
        """What `migrate diff` makes of an empty database and forge's own migrations; in a quarter
        of the time.
        """
        with make_fresh_database(self.server) as database, connect(database.owner_url) as conn:
            yield conn

    def refused(self, *resources: ResourceIR, **options: Any) -> BuildError:
        """Why there is no migration. No file is written."""
        before = [file.name for file in self.files()]
        with pytest.raises(BuildError) as caught:
            self.next(*resources, **options)
        assert [file.name for file in self.files()] == before
        return caught.value

    def go(self, *resources: ResourceIR, **options: Any) -> MigrationFile:
        """Write the next migration and apply it."""
        migration = self.next(*resources, **options)
        assert migration is not None
        migration.write()
        self.up()
        return self.files()[-1]

    def up(self) -> list[str]:
        """Apply what is missing."""
        return migrate(self.conn, self.files())

    def down(self) -> None:
        """Undo the last file."""
        migrate_down(self.conn, self.files())

    def by_hand(self, name: str, text: str) -> None:
        """A file that somebody wrote."""
        (self.root / "migrations").mkdir(exist_ok=True)
        (self.root / "migrations" / name).write_text(text)

    def shape(self) -> tuple[object, str]:
        """Everything that the database is, by our own query and by pg_dump."""
        return self._shape(self.database.owner_url)

    def shape_of(self, *resources: ResourceIR) -> tuple[object, str]:
        """The same of a database that is made from scratch; made once for the same resources."""
        place = (self.server.owner_url, desired_sql(resolve(resources)))
        if place not in self.made:
            with make_fresh_database(self.server) as other:
                with connect(other.owner_url) as conn:
                    conn.execute(place[1] or "select 1")
                self.made[place] = self._shape(other.owner_url)
        return self.made[place]

    def _shape(self, url: str) -> tuple[object, str]:
        with connect(url) as conn:
            found = {key: part.definition for key, part in read_catalog(conn).items()}
        return found, _normal(_dump(self.pg_dump, url)) if self.pg_dump else ""


def _dump(program: str, url: str) -> str:
    done = subprocess.run(
        [program, "--schema-only", "--schema=public", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def _normal(dump: str) -> str:
    """Columns come in the order of their making, the head holds a random word, and PostgreSQL 18
    prints the name of a NOT NULL that has kept it through a rename.
    """
    lines = [line for line in dump.splitlines() if not re.match(r"\\(un)?restrict ", line)]
    text = re.sub(r' CONSTRAINT (?:"(?:[^"]|"")*"|\w+) NOT NULL', " NOT NULL", "\n".join(lines))
    return re.sub(r"(?ms)^(CREATE TABLE [^\n]*\(\n)(.*?)^\)", _sorted_columns, text)


def _sorted_columns(table: re.Match[str]) -> str:
    return table[1] + "\n".join(sorted(line.rstrip(",") for line in table[2].splitlines())) + "\n)"
