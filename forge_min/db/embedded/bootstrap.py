"""What a fresh embedded server needs: passwords in a file, the owner's role, the database."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ...errors import Unavailable
from ..connection import Connection
from ..statements import load_sql

SQL = load_sql("forge_min.db.embedded", "bootstrap.sql")
WHO = ("admin", "owner", "app")


def load_credentials(data: Path) -> dict[str, str]:
    """The passwords of admin, owner and app; made at random for a new folder, kept with mode 0600.

    Raises Unavailable F424 when the folder has data and no passwords.
    """
    path = data / "credentials.json"
    if path.exists():
        passwords: dict[str, str] = json.loads(path.read_text("utf-8"))
        return passwords
    if (data / "pg").exists():
        raise Unavailable(
            f"{path} is missing, so nobody can log in to the data beside it",
            code="F424",
            hint="restore the file, or remove the folder and start with an empty database",
        )
    passwords = {who: os.urandom(24).hex() for who in WHO}
    new = path.with_suffix(".new")
    write_private(new, json.dumps(passwords))
    new.replace(path)
    return passwords


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, from its first byte on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


def ensure_database(conn: Connection, owner: str, password: str, database: str) -> None:
    """Create the owner's role and the database where missing. conn: as superuser.

    The owner is no superuser; it may create roles and databases, which a test suite and
    `ensure_app_role` need.
    """
    values = {"owner": owner, "password": password, "database": database}
    for row in conn.execute(SQL["missing"], values).fetchall():
        conn.execute(row[0])
