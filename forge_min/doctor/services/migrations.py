"""The migrations of this release against those that the database has."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ..finding import Finding, found
from ..site import Site
from .reading import reading

_STATES = {
    "D510": (("pending", "half applied"), "failed", "not applied"),
    "D511": (("changed",), "failed", "changed after they were applied"),
    "D512": (("missing",), "warning", "applied by another release"),
}


def check_migrations(site: Site, conn: db.Connection) -> Iterator[Finding]:
    """Pending, edited, and unknown ones."""
    files = [*db.FORGE_MIGRATIONS]
    if site.root is not None:
        files += db.read_migrations(site.root / "migrations", "app")
    with reading(conn):
        rows = db.migration_status(conn, files)
    for code, (states, state, what) in _STATES.items():
        names = [f"{row.source}/{row.name}" for row in rows if row.state in states]
        if names:
            listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
            yield found(code, state, f"{what}: {listed}")  # type: ignore[arg-type]
        elif code == "D510":
            yield found(code, "ok", f"all {len(files)} are applied")
        else:
            yield found(code, "ok", "there are none")
