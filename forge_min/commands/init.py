"""init: a new project."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BuildError, ForgeError, UsageError
from ..generate import check_new, generate, scaffold_project, scaffold_resource
from ..migrations import diff
from ..ops import print_result, with_database
from .project import read_resources, use_code


def init(args: argparse.Namespace) -> None:
    """The project's files, its gen/ and its first migration; with --auth an admin too. Whole, or
    nothing. Raises BuildError F301 where it cannot be written.
    """
    if args.admin is not None and not args.auth:
        raise UsageError("--admin is for a project with accounts", hint="add --auth")
    admin = args.admin or "admin@example.com"
    if args.auth:
        from ..auth import accounts

        accounts.check_email(admin)

    folder = Path(args.project or ".", args.name)
    check_new(folder, args.name)
    with _whole(folder.resolve()) as new:
        written = _write(new, args, admin if args.auth else "")
    answer: dict[str, object] = {"project": str(folder), "written": written}
    lines = [f"{folder}: {len(written)} files", f"next: cd {folder} && python -m forge_min dev"]
    if args.auth and (password := _make_admin(folder, admin)):
        answer["admin"] = {"email": admin, "password": password}
        lines.append(f"sign in as {admin} with the password {password}: it is shown this once")
    print_result(answer, lines, as_json=args.json)


def _write(folder: Path, args: argparse.Namespace, admin: str) -> list[str]:
    """All that needs no database; the files' names."""
    written = scaffold_project(folder, args.name, admin=admin)
    resources = read_resources(folder, as_json=args.json)
    written += scaffold_resource(folder, *resources)
    generate(folder, resources)
    first = diff(folder, resources, [])
    if first is not None:
        written.append(first.write().relative_to(folder).as_posix())
    return written


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill: an empty one that is there, else one beside it, which takes its name at the
    end. Raises BuildError F301; then, and after whatever else is raised, nothing is left in it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = folder  # with its owner and mode, and whatever may be mounted there
        if not folder.is_dir():
            beside = tempfile.mkdtemp(prefix=f".{folder.name}.forge-", dir=folder.parent)
            made = Path(beside, folder.name)
        try:
            yield made
            if made != folder:
                os.rename(made, folder)  # rename(2): never over a folder that has a file
        except BaseException:
            for entry in folder.iterdir() if made == folder else ():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            raise
        finally:
            if made != folder:
                shutil.rmtree(made.parent, ignore_errors=True)
    except OSError as err:
        why = f"{folder} cannot be written: {err.strerror or err}"
        hint = "make room, or name another folder; nothing was left there"
        raise BuildError(why, code="F301", hint=hint) from err


def _make_admin(folder: Path, email: str) -> str:
    """The password of a new admin, in the database of development; "" where there is none, and then
    what to do is said.
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
        print(f"no admin yet: {err.message}", file=sys.stderr)
        command = f"python -m forge_min auth create-user {email} --role admin --password"
        print(f"hint: migrate the database, then: {command}", file=sys.stderr)
        return ""
    return password
