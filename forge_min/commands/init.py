"""init: a new project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import ForgeError
from .project import read_resources, use_code


def init(args: argparse.Namespace) -> int:
    """The project's files, its gen/ and its first migration; with --auth an admin too."""
    from ..generate import generate, scaffold_project, scaffold_resource
    from ..migrations import diff
    from ..ops.door import tell

    folder = Path(args.project or ".", args.name)
    written = scaffold_project(folder, args.name, signs_in=args.auth)
    resources = read_resources(folder, as_json=args.json)
    written += scaffold_resource(folder, *resources)
    generate(folder, resources)
    first = diff(folder, resources, [])
    if first is not None:
        written.append(first.write().relative_to(folder).as_posix())
    answer: dict[str, object] = {"project": str(folder), "written": written}
    lines = [f"{folder}: {len(written)} files", f"next: cd {folder} && python -m forge_min dev"]
    if args.auth and (password := _make_admin(folder, args.admin)):
        answer["admin"] = {"email": args.admin, "password": password}
        lines.append(f"sign in as {args.admin} with the password {password}: it is shown this once")
    tell(answer, lines, as_json=args.json)
    return 0


def _make_admin(folder: Path, email: str) -> str:
    """The password of a new admin, in the database of development; "" where there is none, and then
    what to do is said.
    """
    import secrets

    from .. import db
    from ..auth import accounts, signing
    from ..ops.project import with_database

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
