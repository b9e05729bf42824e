"""The next migration: what the schemas ask for, against what the migration files give.

Both are built for real in scratch databases and compared by catalog. The file is tried there
before it is given: it leads exactly to what the schemas ask for, and back. What cannot be done
without a decision of a person (a rename, a removal, a primary key) is named and refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError
from ..parse import ResourceIR
from .desired import desired_parts, parts_sql
from .parts import Executor, Key, Part, State, identifier, read_catalog, read_files
from .plan import Plan, Risk, together
from .renames import Decisions, name_not_null, rename
from .replay import File, build, identities, replay

HEAD = "-- forge: generated\n"
BY_STEP = "-- forge: no transaction\n"
DOWN = "\n-- forge: down\n"
BY_HAND = (
    "write migrations/NNNN_what_it_does.sql; its first line `-- forge: generated` makes it part of"
    " the generated state"
)
LACKING = "give it a default, or add it as optional, fill it, and require it after that"
TENANTS = (
    "write migrations/NNNN_tenants.sql: its first line `-- forge: generated`, then add the column"
    " (uuid), fill it, set it NOT NULL; the next `migrate diff` does the rest"
)
NO_WAY_BACK = "\n-- There is no way back that gives the same again: {}\n"


@dataclass(frozen=True, slots=True)
class Migration:
    """A file that is not written yet. changes: one line for each, for a person."""

    path: Path
    sql: str
    changes: tuple[str, ...]
    risks: tuple[Risk, ...] = ()

    def write(self) -> Path:
        """Write it, whole or not at all. Raises BuildError F333 when the file is there by now."""
        if self.path.exists():
            raise BuildError(f"{self.path.name} exists already", code="F333")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        try:
            draft.write_text(self.sql, encoding="utf-8")
            return draft.rename(self.path)
        finally:
            draft.unlink(missing_ok=True)  # of a full disk


def diff(
    root: Path,
    resources: Sequence[ResourceIR],
    files: Sequence[File],
    *,
    base: Sequence[File] = (),
    scratch: Callable[[], AbstractContextManager[Executor]] | None = None,
    name: str = "",
    decisions: Decisions | None = None,
    allow_destructive: bool = False,
) -> Migration | None:
    """The migration that is missing, or None when the files already give what the schemas ask for.

    root: the project's folder. files: its migrations, in order. base: forge's own. scratch: gives
    a connection to an empty database, owned by its user; asked for twice, and only when there are
    files. name: the new file's ("add_gate"); "" takes one from the changes. decisions:
    renames and removals. allow_destructive: accept every Risk. Raises BuildError: F330 as
    desired_sql, F331 for changes that have to be written by hand, F332 when the files or the
    schemas do not make a database, F334 for risks that are not accepted, F335 where a rename is
    likely and nobody says so, F336 for required columns that present rows lack, F337 for decisions
    about nothing.
    """
    parts, decisions = desired_parts(resources), decisions or Decisions()
    if not files:
        return _initial(root, parts, files, name) if parts else None
    if scratch is None:
        raise BuildError("comparing with earlier migrations needs a database", code="F332")
    with scratch() as conn:
        wanted, ours = build(conn, base, parts, files, decisions.statements())
    with scratch() as conn:
        theirs = replay(conn, [*base, *files])
        difference = _Difference(conn, read_catalog(conn), wanted, ours, theirs)
        sql, changes, risks = difference.sql(decisions, allow_destructive)
    if not changes:
        return None
    return Migration(_path(root, files, name or changes[0]), sql, tuple(changes), tuple(risks))


def _initial(root: Path, parts: list[Part], files: Sequence[File], name: str) -> Migration:
    sql = f"{HEAD}\n{parts_sql(parts)}{DOWN}"
    for kind in ("view", "table"):
        names = ", ".join(identifier(p.name or p.table) for p in parts if p.kind == kind)
        sql += f"drop {kind} {names};\n" if names else ""
    changes = tuple(f"create table {part.table}" for part in parts if part.kind == "table")
    return Migration(_path(root, files, name or "initial"), sql, changes)


def _path(root: Path, files: Sequence[File], name: str) -> Path:
    number = max((int(file.name[:4]) for file in files), default=0) + 1
    word = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:50] or "change"
    return root / "migrations" / f"{number:04}_{word}.sql"


@dataclass(frozen=True, slots=True)
class _Difference:
    """The way from what the files give to what the schemas ask for, and back; tried in `conn`.

    start: what the files made there. ours: what the schemas alone make. theirs: the identities of
    what hand-written files made.
    """

    conn: Executor
    start: State
    wanted: State
    ours: set[Key]
    theirs: set[str]

    def sql(self, decisions: Decisions, allowed: bool) -> tuple[str, list[str], list[Risk]]:
        """The file's text, the changes, the risks. allowed: accept them. Raises BuildError F331,
        F336 and F334, naming everything.
        """
        renames = rename(self.conn, self.wanted, self.theirs, decisions)
        now = read_catalog(self.conn)
        up = Plan(now, self.wanted, self._compared(now), online=True)
        down = Plan(self.wanted, now, self._compared(now), online=False)
        _refuse(up.refused, up.missing)
        risks = up.risks + self._try_up([*up.quick, *up.steps, *up.last])
        if risks and not allowed:
            message = "these steps lose data or lock a table for long: "
            hint = "when that is meant, say so with --allow-destructive"
            raise BuildError(message + "; ".join(map(str, risks)), code="F334", hint=hint)
        quick = [*(r.sql() for r in renames), *name_not_null(renames), *up.quick]
        steps = [together(quick)] * bool(quick) + up.steps if up.steps else quick
        sql = f"{HEAD}{BY_STEP if up.steps else ''}\n" + "\n".join(steps + up.last)
        back = [
            *up.leftovers,
            *down.quick,
            *down.last,
            *up.remains,
            *(r.sql(back=True) for r in reversed(renames)),
        ]
        back += name_not_null(renames, back=True)
        failed = self._try(back, self.start)
        sql += NO_WAY_BACK.format(failed) if failed else DOWN + "\n".join(back)
        return sql, [*map(str, renames), *up.changes], risks

    def _try_up(self, statements: list[str]) -> list[Risk]:
        """The risks that show: what PostgreSQL wrote anew or took with it."""
        before = read_files(self.conn)
        failed = self._try(statements, self.wanted)
        if failed:
            _refuse([failed], [])
        after = read_files(self.conn)
        locked = [t for t in sorted(before) if before[t] != after.get(t, before[t])]
        why = "all its rows are written anew under a lock"
        risks = [Risk("locking", f"rewrite table {table}", why) for table in locked]
        taken = self.theirs - identities(self.conn)
        for part in self.start.values():
            # A view that is made anew gets back what was granted on it.
            if part.identity in taken and part.kind != "grant":
                what = f"drop {part.kind} {part.name} of {part.table}"
                risks.append(Risk("destructive", what, "a hand-written migration made it"))
        return risks

    def _compared(self, state: State) -> set[Key]:
        """No grants: only a person gives them."""
        found = self.ours | {k for k, part in state.items() if part.identity not in self.theirs}
        return {key for key in found if key[0] != "grant"}

    def _try(self, statements: Sequence[str], wanted: State) -> str:
        """Run them; what went wrong, "" for nothing."""
        try:
            for statement in statements:
                self.conn.execute(statement)
        except Exception as err:
            return " ".join(str(err).splitlines()[:2])  # the message, and its DETAIL
        now = read_catalog(self.conn)
        keys = self._compared(wanted if wanted is self.start else now)
        wrong = [" ".join(key) for key in sorted(keys) if _text(now, key) != _text(wanted, key)]
        return ", ".join(wrong) and ", ".join(wrong) + " would not come out as asked for"


def _refuse(refused: list[str], missing: list[str]) -> None:
    lacking = [f"{column} is required, and present rows have no value" for column in missing]
    if refused or missing:
        message = "these changes have to be written by hand: " + "; ".join(refused + lacking)
        code, hint = ("F331", BY_HAND) if refused else ("F336", LACKING)
        if code == "F336" and all(column.endswith(".tenant_id") for column in missing):
            hint = TENANTS
        raise BuildError(message, code=code, hint=hint)


def _text(state: State, key: Key) -> str | None:
    part = state.get(key)
    return part.definition if part else None
