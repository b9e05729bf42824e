"""init: create a project."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BuildError, ForgeError, UsageError
from ..generate import check_new, generate, scaffold_project, scaffold_resource
from ..migrations import diff
from ..ops import print_result, with_database
from .project import read_resources, use_code


def init(args: argparse.Namespace) -> None:
    """Write a project with gen/ and its first migration, completely or not at all.

    --auth adds sign-in pages and an admin. Raises BuildError F002 if the folder cannot be written.
    """
    if args.admin is not None and not args.auth:
        raise UsageError("--admin needs a project with accounts", hint="add --auth")
    admin = ""
    if args.auth:
        from ..auth import accounts

        admin = args.admin or "admin@example.com"
        accounts.check_email(admin)

    folder = Path(args.project or ".", args.name)
    check_new(folder, args.name)
    with _new_folder(folder.resolve()) as new:
        written = _write(new, args, admin)
    output: dict[str, object] = {"project": str(folder), "written": written}
    lines = [f"{folder}: {len(written)} files", f"next: cd {folder} && python -m forge_min dev"]
    if admin:
        password = _make_admin(folder, admin)
        if password:
            output["admin"] = {"email": admin, "password": password}
            sign_in = f"sign in as {admin} with the password {password}"
            lines.append(f"{sign_in}, which is shown only once")
    print_result(output, lines, as_json=args.json)


def _write(folder: Path, args: argparse.Namespace, admin: str) -> list[str]:
    """Write all files that need no database. Returns their names."""
    written = scaffold_project(folder, args.name, admin=admin)
    resources = read_resources(folder, as_json=args.json)
    written += scaffold_resource(folder, *resources)
    generate(folder, resources)
    first = diff(folder, resources, [])
    if first is not None:
        written.append(first.write().relative_to(folder).as_posix())
    return written


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill: the existing one, else a new one that is renamed at the end.

    After an exception nothing is left in the folder. Raises BuildError F002 for an OSError.
    """
    try:
        if folder.is_dir():  # keeps owner, mode and mounts
            try:
                yield folder
            except BaseException:
                for entry in folder.iterdir():
                    if entry.is_dir():
                        shutil.rmtree(entry)
                    else:
                        entry.unlink()
                raise
        else:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=f".{folder.name}.forge-", dir=folder.parent) as beside:
                draft = Path(beside, folder.name)
                yield draft
                os.rename(draft, folder)  # rename(2): never over a folder that has a file
    except OSError as err:
        why = f"{folder} cannot be written: {err.strerror or err}"
        hint = "free some space, or name another folder; no file was left there"
        raise BuildError(why, code="F002", hint=hint) from err


def _make_admin(folder: Path, email: str) -> str:
    """Create an admin in the development database. Returns the password.

    Returns "" if the database is not available, and prints the command to run later.
    """
    from .. import db
    from ..auth import accounts, signing

    use_code(folder.absolute())
    password = secrets.token_urlsafe(12)
    try:
        with with_database() as project, db.connect(project.config.database.url) as conn:
            accounts.create_user(conn, email, roles=["admin"])
            user = accounts.find_user(conn, email)
            signing.set_password(conn, user, password, project.config.auth.password_min_length)
    except ForgeError as err:
        print(f"the admin was not created: {err.message}", file=sys.stderr)
        command = f"python -m forge_min auth create-user {email} --role admin --password"
        print(f"hint: migrate the database, then: {command}", file=sys.stderr)
        return ""
    return password
