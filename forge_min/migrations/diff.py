"""The next migration: the difference between the schemas and the existing migration files.

Both are created in scratch databases and compared by catalog. The new file is tried there: it must
lead exactly to the schemas and back. Changes that need a decision of a developer (a rename, a
removal, a primary key) are named and refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError
from ..parse import ResourceIR
from ..sql_files import MigrationFile
from .desired import desired_objects, objects_sql
from .objects import DbObject, Executor, Key, State, identifier, read_catalog, read_files
from .plan import Plan, Risk, as_one_statement
from .renames import Decisions, apply_renames
from .replay import create_desired, identities, replay

HEAD = "-- forge: generated\n"
BY_STEP = "-- forge: no transaction\n"
DOWN = "\n-- forge: down\n"
BY_HAND = (
    "write migrations/NNNN_what_it_does.sql; the first line `-- forge: generated` makes it part of"
    " the generated state"
)
MISSING = "set a default, or add it as optional, fill it, and require it afterwards"
TENANTS = (
    "write migrations/NNNN_tenants.sql: its first line `-- forge: generated`, then add the column"
    " (uuid), fill it, set it NOT NULL; the next `migrate diff` does the rest"
)
IRREVERSIBLE = "\n-- This migration cannot be undone exactly: {}\n"


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration that is not written yet. changes: one line of text per change."""

    path: Path
    sql: str
    changes: tuple[str, ...]
    risks: tuple[Risk, ...] = ()

    def write(self) -> Path:
        """Write the file atomically. Raises BuildError F333 if it exists already."""
        if self.path.exists():
            raise BuildError(f"{self.path.name} exists already", code="F333")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        try:
            draft.write_text(self.sql, encoding="utf-8")
            return draft.rename(self.path)
        finally:
            draft.unlink(missing_ok=True)  # left by a full disk


def diff(
    root: Path,
    resources: Sequence[ResourceIR],
    files: Sequence[MigrationFile],
    *,
    base: Sequence[MigrationFile] = (),
    scratch: Callable[[], AbstractContextManager[Executor]] | None = None,
    name: str = "",
    decisions: Decisions | None = None,
    allow_destructive: bool = False,
) -> Migration | None:
    """Return the missing migration, None if the files already match the schemas.

    root: the project's folder.
    files: its migrations, in order.
    base: the built-in migrations.
    scratch: returns a connection to an empty database, owned by its user; called twice, and only
        if there are files.
    name: of the new file ("add_gate"), default from its first change.
    decisions: renames and removals.
    allow_destructive: accept every Risk.

    Raises BuildError: F330 as desired_sql; F331 for changes that must be written by hand; F332 if
    the files or the schemas fail in an empty database; F334 for risks that are not accepted; F335
    for a likely rename without a decision, and decisions that match no change; F336 for required
    columns without a value in existing rows.
    """
    objects = desired_objects(resources)
    decisions = decisions or Decisions()
    if not files:
        if not objects:
            return None
        return _initial(root, objects, name)
    if scratch is None:
        raise BuildError("the comparison with earlier migrations needs a database", code="F332")
    with scratch() as conn:
        wanted, managed = create_desired(conn, base, objects, files, decisions.statements())
    with scratch() as conn:
        hand_written = replay(conn, [*base, *files])
        difference = _Difference(conn, read_catalog(conn), wanted, managed, hand_written)
        sql, changes, risks = difference.sql(decisions, allow_destructive)
    if not changes:
        return None
    return Migration(_path(root, files, name or changes[0]), sql, tuple(changes), tuple(risks))


def _initial(root: Path, objects: list[DbObject], name: str) -> Migration:
    sql = f"{HEAD}\n{objects_sql(objects)}{DOWN}"
    for kind in ("view", "table"):
        names = [identifier(obj.name or obj.table) for obj in objects if obj.kind == kind]
        if names:
            sql += f"drop {kind} {', '.join(names)};\n"
    changes = [f"create table {obj.table}" for obj in objects if obj.kind == "table"]
    return Migration(_path(root, [], name or "initial"), sql, tuple(changes))


def _path(root: Path, files: Sequence[MigrationFile], name: str) -> Path:
    numbers = [int(file.name[:4]) for file in files]
    number = max(numbers, default=0) + 1
    words = re.sub(r"[^a-z0-9_]+", "_", name.lower())
    word = words.strip("_")[:50] or "change"
    return root / "migrations" / f"{number:04}_{word}.sql"


@dataclass(frozen=True, slots=True)
class _Difference:
    """The statements from the state of the files to that of the schemas, and back.

    conn: a database with the state of the files, for trying the statements.
    start: that state.
    wanted: the state of the schemas.
    managed: the keys of objects that the schemas create.
    hand_written: the identities of objects that hand-written files created.
    """

    conn: Executor
    start: State
    wanted: State
    managed: set[Key]
    hand_written: set[str]

    def sql(self, decisions: Decisions, allowed: bool) -> tuple[str, list[str], list[Risk]]:
        """Return the file's text, the changes and the risks. allowed: accept the risks.

        Raises BuildError F331, F336 or F334 with the list of all such changes.
        """
        renames = apply_renames(self.conn, self.wanted, self.hand_written, decisions)
        now = read_catalog(self.conn)
        keys = self._compared(now)
        up = Plan(now, self.wanted, keys, online=True)
        down = Plan(self.wanted, now, keys, online=False)
        _refuse(up.refused, up.missing)
        risks = up.risks + self._try_up([*up.quick, *up.steps, *up.last])
        if risks and not allowed:
            message = "these steps lose data or lock a table for a long time: "
            hint = "to accept that, add --allow-destructive"
            raise BuildError(message + "; ".join(map(str, risks)), code="F334", hint=hint)
        steps = [rename.sql() for rename in renames] + up.quick
        head = HEAD
        if up.steps:
            head += BY_STEP
            if steps:
                steps = [as_one_statement(steps)]
            steps += up.steps
        sql = f"{head}\n" + "\n".join(steps + up.last)
        back = up.leftovers + down.quick + down.last + up.remains
        back += [rename.sql(back=True) for rename in reversed(renames)]
        failed = self._try(back, self.start)
        if failed:
            sql += IRREVERSIBLE.format(failed)
        else:
            sql += DOWN + "\n".join(back)
        return sql, [*map(str, renames), *up.changes], risks

    def _try_up(self, statements: list[str]) -> list[Risk]:
        """Run the statements. Returns rewritten tables and dropped hand-made objects as risks."""
        before = read_files(self.conn)
        failed = self._try(statements, self.wanted)
        if failed:
            _refuse([failed], [])
        after = read_files(self.conn)
        risks = []
        for table in sorted(before.keys() & after.keys()):
            if before[table] != after[table]:
                why = "all its rows are rewritten under a lock"
                risks.append(Risk("locking", f"rewrite table {table}", why))
        dropped = self.hand_written - identities(self.conn)
        for obj in self.start.values():
            # A recreated view gets back its grants.
            if obj.identity in dropped and obj.kind != "grant":
                what = f"drop {obj.kind} {obj.name} of {obj.table}"
                risks.append(Risk("destructive", what, "a hand-written migration created it"))
        return risks

    def _compared(self, state: State) -> set[Key]:
        """Return the keys to compare, without grants, which are always hand-made."""
        generated = {k for k, obj in state.items() if obj.identity not in self.hand_written}
        return {key for key in self.managed | generated if key[0] != "grant"}

    def _try(self, statements: Sequence[str], wanted: State) -> str:
        """Run the statements. Returns an error or the differences from `wanted`, "" for success."""
        try:
            for statement in statements:
                self.conn.execute(statement)
        except Exception as err:
            return " ".join(str(err).splitlines()[:2])  # the message, and its DETAIL
        now = read_catalog(self.conn)
        state = wanted if wanted is self.start else now
        present = {key: obj.definition for key, obj in now.items()}
        expected = {key: obj.definition for key, obj in wanted.items()}
        wrong = [
            " ".join(key)
            for key in sorted(self._compared(state))
            if present.get(key) != expected.get(key)
        ]
        if not wrong:
            return ""
        return f"{', '.join(wrong)} would differ from the schemas"


def _refuse(refused: list[str], missing: list[str]) -> None:
    if not refused and not missing:
        return
    code = "F331"
    hint = BY_HAND
    if not refused:
        code = "F336"
        hint = MISSING
        if all(column.endswith(".tenant_id") for column in missing):
            hint = TENANTS
    changes = list(refused)
    changes.extend(f"{column} is required, but existing rows have no value" for column in missing)
    message = f"these changes must be written by hand: {'; '.join(changes)}"
    raise BuildError(message, code=code, hint=hint)
