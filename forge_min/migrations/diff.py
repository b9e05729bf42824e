"""The next migration: what the schemas ask for, against what the migration files give.

Both are built for real in scratch databases and compared by catalog. The file is tried there
before it is given: it leads exactly to what the schemas ask for, and back. What cannot be done
without a decision of a person (a rename, a removal, a primary key) is named and refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError
from ..parse.ir import ResourceIR
from .catalog import Executor, read_catalog, read_files
from .desired import desired_parts, parts_sql
from .names import identifier
from .parts import Key, Part, State
from .plan import Plan, together
from .renames import Decisions, name_not_null, rename
from .replay import File, build, replay
from .risks import Risk

HEAD = "-- forge: generated\n"
BY_STEP = "-- forge: no transaction\n"
DOWN = "\n-- forge: down\n"
BY_HAND = (
    "write migrations/NNNN_what_it_does.sql; its first line `-- forge: generated` makes it part of"
    " the generated state"
)
LACKING = "give it a default, or add it as optional, fill it, and require it after that"
NO_WAY_BACK = "\n-- There is no way back that gives the same again: {}\n"

Scratch = Callable[[], AbstractContextManager[Executor]]


@dataclass(frozen=True, slots=True)
class Migration:
    """A file that is not written yet. changes: one line for each, for a person."""

    path: Path
    sql: str
    changes: tuple[str, ...]
    risks: tuple[Risk, ...] = ()

    def write(self) -> Path:
        """Write it, whole or not at all. Raises BuildError F333 when the file is there by now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(self.sql, encoding="utf-8")
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise BuildError(f"{self.path.name} exists already", code="F333") from None
        finally:
            draft.unlink()
        return self.path


def diff(
    root: Path,
    resources: Sequence[ResourceIR],
    files: Sequence[File],
    *,
    base: Sequence[File] = (),
    scratch: Scratch | None = None,
    name: str = "",
    decisions: Decisions | None = None,
    allow_destructive: bool = False,
) -> Migration | None:
    """The migration that is missing, or None when the files already give what the schemas ask for.

    root: the project's folder. files: its migrations, in order. base: forge's own. scratch: gives
    a connection to an empty database, owned by its user; asked for twice, and only when there are
    generated files. name: the new file's ("add_gate"); "" takes one from the changes. decisions:
    renames and removals. allow_destructive: accept every Risk. Raises BuildError: F330 as
    desired_sql, F331 for changes that have to be written by hand, F332 when the files or the
    schemas do not make a database, F334 for risks that are not accepted, F335 where a rename is
    likely and nobody says so, F336 for required columns that present rows lack, F337 for decisions
    about nothing.
    """
    parts, decisions = desired_parts(resources), decisions or Decisions()
    if not any(file.generated for file in files):
        return _initial(root, parts, files, name) if parts else None
    if scratch is None:
        raise BuildError("comparing with earlier migrations needs a database", code="F332")
    with scratch() as conn:
        wanted, ours = build(conn, base, parts, files)
    with scratch() as conn:
        theirs = replay(conn, base, files)
        found = _Difference(conn, wanted, ours, theirs, decisions)
        return found.migration(root, files, name, allow_destructive)


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


class _Difference:
    """The way from what the files give to what the schemas ask for, and back."""

    def __init__(
        self,
        conn: Executor,
        wanted: State,
        ours: set[Key],
        theirs: set[str],
        decisions: Decisions,
    ) -> None:
        self._conn, self._wanted, self._ours, self._theirs = conn, wanted, ours, theirs
        self._start = read_catalog(conn)
        self._renames = rename(conn, wanted, theirs, decisions)
        now = read_catalog(conn)
        self._up = Plan(now, wanted, self._compared(now), online=True)
        self._down = Plan(wanted, now, self._compared(now), online=False)

    def migration(
        self, root: Path, files: Sequence[File], name: str, allow_destructive: bool
    ) -> Migration | None:
        """The result, tried in this database. Raises BuildError F331, F336 and F334, naming
        everything.
        """
        up, down = self._up, self._down
        changes = (*map(str, self._renames), *up.changes)
        self._refuse(up.refused, up.missing)
        risks = self._try_up()
        if risks and not allow_destructive:
            raise BuildError(
                "these steps lose data or lock a table for long: " + "; ".join(map(str, risks)),
                code="F334",
                hint="when that is meant, say so with --allow-destructive",
            )
        if not changes:
            return None
        quick = [*(r.sql() for r in self._renames), *name_not_null(self._renames), *up.quick]
        steps = [together(quick)] * bool(quick) + up.steps if up.steps else quick
        sql = f"{HEAD}{BY_STEP if up.steps else ''}\n" + "\n".join(steps + up.last)
        back = [*down.quick, *down.last, *(r.sql(back=True) for r in reversed(self._renames))]
        back += name_not_null(self._renames, back=True)
        failed = self._try(back, self._start)
        sql += NO_WAY_BACK.format(failed) if failed else DOWN + "\n".join(back)
        return Migration(_path(root, files, name or changes[0]), sql, changes, tuple(risks))

    def _refuse(self, refused: list[str], missing: list[str]) -> None:
        lacking = [f"{column} is required, and present rows have no value" for column in missing]
        if refused or missing:
            message = "these changes have to be written by hand: " + "; ".join(refused + lacking)
            code, hint = ("F331", BY_HAND) if refused else ("F336", LACKING)
            raise BuildError(message, code=code, hint=hint)

    def _try_up(self) -> list[Risk]:
        """The risks: what the steps say, what PostgreSQL wrote anew or took with it just now."""
        up, before = self._up, read_files(self._conn)
        failed = self._try([*up.quick, *up.steps, *up.last], self._wanted)
        if failed:
            self._refuse([failed], [])
        after = read_files(self._conn)
        locked = [t for t in sorted(before) if before[t] != after.get(t, before[t])]
        why = "all its rows are written anew under a lock"
        risks = up.risks + [Risk("locking", f"rewrite table {table}", why) for table in locked]
        left = {part.identity for part in read_catalog(self._conn).values()}
        why = "a hand-written migration made it"
        for kind, table, name in (p.key for p in self._made_by_hand() if p.identity not in left):
            risks.append(Risk("destructive", f"drop {kind} {name} of {table}", why))
        return risks

    def _made_by_hand(self) -> list[Part]:
        grants = ("grant",)  # a view that is made anew gets them back
        mine = [p for p in self._start.values() if p.identity in self._theirs]
        return [part for part in mine if part.kind not in grants]

    def _compared(self, state: State) -> set[Key]:
        return self._ours | {k for k, part in state.items() if part.identity not in self._theirs}

    def _try(self, statements: Sequence[str], wanted: State) -> str:
        """Run them; what went wrong, "" for nothing."""
        try:
            for statement in statements:
                self._conn.execute(statement)
        except Exception as err:
            return " ".join(str(err).splitlines()[:2])  # the message, and its DETAIL
        now = read_catalog(self._conn)
        keys = self._compared(wanted if wanted is self._start else now)
        wrong = [" ".join(key) for key in sorted(keys) if _text(now, key) != _text(wanted, key)]
        return ", ".join(wrong) and ", ".join(wrong) + " would not come out as asked for"


def _text(state: State, key: Key) -> str | None:
    part = state.get(key)
    return part.definition if part else None
