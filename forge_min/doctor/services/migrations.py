"""The migrations of this release against those that the database has."""

from __future__ import annotations

from collections.abc import Iterator

from ... import db
from ..finding import Finding, State, listed, verdict
from ..site import Site
from .reading import reading

_STATES: dict[str, tuple[tuple[str, ...], State, str]] = {
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
        names = listed(f"{row.source}/{row.name}" for row in rows if row.state in states)
        well = f"all {len(files)} are applied" if code == "D510" else "there are none"
        yield verdict(code, state, names and f"{what}: {names}", well)
