"""db reset: a database of development as it is on the first day."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import ForgeError
from ..project import find_root, use_code
from .seed import fill, seed_files, tenant_of, told

_DROP = Path(__file__).with_name("reset.sql")
_COUNTED = r"""
select sequencename, last_value from pg_sequences
 where schemaname = 'public' and sequencename like 'forge\_%' and last_value is not null
"""


def reset(args: argparse.Namespace) -> int:
    """Drop all, migrate, seed.

    Raises ForgeError F536 in production, and where the name of a database that is not the embedded
    one was not given; as `db.migrate` and `fill`.
    """
    from ... import db
    from ...ops import door, migrate
    from ...ops.project import load_config, with_database

    root, tenant = find_root(args), tenant_of(args)
    use_code(root)
    embedded = not load_config().database.url
    with with_database(migrated=False) as project:
        if project.config.env == "production":
            hint = "FORGE_ENV=production is set here; a site's rows are its own: see docs, backup"
            raise ForgeError("db reset is not for production", code="F536", hint=hint)
        with migrate.connect_owner(project) as conn:
            if not embedded:
                _confirm(conn.info.dbname, conn.info.host, args)
            with db.transaction(conn):
                counted = conn.execute(_COUNTED).fetchall()
                conn.execute(_DROP.read_text("utf-8"))
            applied = db.migrate(conn, migrate.files_of(project))
            # What runs beside this takes a lower number for one that it has seen.
            for name, last in counted:
                conn.execute("select setval(to_regclass(%s), %s)", (name, last))
            missing = migrate.grant(project, conn)
        seeded = fill(project, root, tenant) if list(seed_files(root)) else {}
    lines = [f"{len(applied)} migrations applied to the empty database", *told(seeded)]
    answer = {"applied": applied, "role_sql": missing, "seeded": seeded}
    door.tell(answer, lines, as_json=args.json)
    return 1 if missing else 0


def _confirm(name: str, host: str, args: argparse.Namespace) -> None:
    given = args.database
    if given is None and sys.stdin.isatty() and not args.json:
        print(f"all of {name} on {host} will be lost; its name: ", end="", file=sys.stderr)
        sys.stderr.flush()
        given = sys.stdin.readline().strip()
    if given != name:
        hint = f"if all of {name} on {host} may be lost: forge-min db reset --database {name}"
        raise ForgeError("nothing was reset", code="F536", hint=hint)
