"""db seed: the rows that an empty database begins with, from the project's seeds/."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from ...errors import ErrorGroup, ForgeError, UsageError
from ..project import find_root, use_code

if TYPE_CHECKING:
    from ...db import Connection
    from ...ops.project import Project
    from ...ops.rows.transfer import AnyActions

FOLDER = "seeds"
_NAME = re.compile(r"(?:\d+[-_])?(\w+)\.(?:csv|jsonl)")
"""10-airports.csv: the number says in which order."""


def seed(args: argparse.Namespace) -> int:
    """Raises as `fill`, and ForgeError F535 where the project has no such files."""
    from ...ops.door import tell
    from ...ops.project import with_database

    root, tenant = find_root(args), tenant_of(args)
    use_code(root)
    if not list(seed_files(root)):
        hint = f"write {FOLDER}/10-TOPIC.jsonl or .csv, as `import` reads them"
        raise ForgeError(f"{FOLDER}/ has no rows", code="F535", hint=hint)
    with with_database() as project:
        done = fill(project, root, tenant)
    tell(done, told(done), as_json=args.json)
    return 0


def fill(project: Project, root: Path, tenant: UUID | None = None) -> dict[str, int | None]:
    """Topic → how many rows it got from its file; None where it had some, which stay as they are.
    A file is kept as a whole or not at all.

    Raises ErrorGroup when a line is refused, which is told already; as `ops.rows.opened`.
    """
    from ...auth import Identity
    from ...ops.migrate import connect_owner
    from ...ops.rows import opened

    done: dict[str, int | None] = {}
    who = Identity("operator", frozenset(), tenant, system=True)
    with connect_owner(project) as owner:  # whom row-level security hides nothing from
        for topic, file in seed_files(root):
            with opened(project, topic, who) as actions:
                before = done[topic] if topic in done else _empty(owner, topic)
                done[topic] = before if before is None else before + _load(actions, file)
    return done


def _empty(owner: Connection, topic: str) -> int | None:
    """0 for a table without rows; None for any other."""
    from psycopg.sql import SQL, Identifier

    row = owner.execute(SQL("select exists (select from {})").format(Identifier(topic))).fetchone()
    return None if row == (True,) else 0


def _load(actions: AnyActions, file: Path) -> int:
    from ...ops.rows import Load

    load = Load(actions, file, actions.create_many, quiet=False)
    load.run(skip=False)
    if load.counts["refused"]:
        raise ErrorGroup(f"{file.name} is wrong", ())
    return load.counts["created"]


def seed_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Topic and file, in the order of their names; other files are none."""
    for path in sorted((root / FOLDER).glob("*")):
        if (match := _NAME.fullmatch(path.name)) and path.is_file():
            yield match[1], path


def tenant_of(args: argparse.Namespace) -> UUID | None:
    """--tenant. Raises UsageError F010 for what is no UUID."""
    try:
        return UUID(args.tenant) if args.tenant else None
    except ValueError:
        raise UsageError(f"--tenant is no UUID: {args.tenant}") from None


def told(done: Mapping[str, int | None]) -> list[str]:
    """Lines for people."""
    return [
        f"{topic}: has rows, left as it is" if count is None else f"{topic}: {count} created"
        for topic, count in done.items()
    ]
