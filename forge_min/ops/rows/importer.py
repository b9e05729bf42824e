"""import: a file of JSON lines or CSV through the actions, in bulk.

Every wrong line is reported with its number. Unless wrong lines are skipped, they undo the whole
import.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from psycopg import Rollback

from ... import db
from ...auth import Identity, accounts, as_identity
from ...errors import Conflict, ConstraintViolation, FieldError, Forbidden, ForgeError, Invalid
from .. import console
from ..project import Project
from .reader import InputLine, read_lines
from .references import AnyActions, references, resolve

T = TypeVar("T")
Send = Callable[..., int | tuple[int, int, int]]
BATCH = 1000  # lines of one statement, and between two reports of progress
MAX_ERRORS = 1000  # errors that --json lists; all are counted
DONE = ("created", "updated", "unchanged")


def import_file(project: Project, args: Namespace) -> int:
    """Create a row of a resource from each line of a file.

    file: NAME.csv with a header line, else JSON lines.
    on_error: "skip" imports the other lines; "stop" imports nothing if a line is wrong.
    update: the unique field by which an existing row is found and updated; "" only creates rows.

    Returns 1 if a line was refused. Raises as `open_actions`, and BadRequest for a file that cannot
    be read (F610) and for a field `update` that is not unique.
    """
    started = time.monotonic()
    identity = operator(project, args, not args.as_role)
    with open_actions(project, args.resource, identity) as actions:
        send: Send = actions.create_many
        if args.update:
            send = partial(actions.upsert_many, key=args.update)
        load = FileImport(actions, args.file, send, quiet=args.json)
        load.run(skip=args.on_error == "skip")
    counts = load.counts
    seconds = time.monotonic() - started
    report = {
        "resource": args.resource,
        "rows": sum(counts[name] for name in DONE),
        **counts,
        "seconds": round(seconds, 3),
        "errors": load.errors,
    }
    words = ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "no lines"
    line = f"{args.resource}: {words} in {seconds:.1f} s"
    console.print_result(report, [line], as_json=args.json)
    return 1 if counts["refused"] else 0


def operator(project: Project, args: Namespace, system: bool) -> Identity:
    """Return the identity of the command: the operator, with the tenant and roles of the options.

    tenant: a slug, or an id, which is not checked. Raises NotFound F633 for an unknown slug.
    """
    tenant = args.tenant and accounts.as_id(args.tenant)
    if args.tenant and not tenant:
        name = "forge_min transfer"
        with db.connect(project.config.database.url, application_name=name) as conn:
            tenant = accounts.find_tenant(conn, args.tenant).id
    return Identity("operator", frozenset(args.as_role), tenant, system=system)


@contextmanager
def open_actions(project: Project, topic: str, identity: Identity) -> Iterator[AnyActions]:
    """Start the project, and yield the actions of `topic` with the given identity.

    Raises ForgeError F601 if no resource has this topic. Forbidden gets a hint.
    """
    running = project.start(serving=False)
    try:
        resources = running.registry.actions
        if topic not in resources:
            message = f"resource {topic!r} not found"
            hint = f"resources: {', '.join(resources)}"
            raise ForgeError(message, code="F601", hint=hint)
        with as_identity(identity):
            yield resources[topic]
    except Forbidden as err:
        err.hint = "set the role or tenant: --as-role, --tenant, --all-fields (only export)"
        raise
    finally:
        running.stop()


def batches(items: Iterator[T]) -> Iterator[list[T]]:
    """Yield the items in lists of at most BATCH."""
    batch = list(islice(items, BATCH))
    while batch:
        yield batch
        batch = list(islice(items, BATCH))


class FileImport:
    """The import of one file into one resource.

    counts: the number of lines by outcome.
    errors: {line, field, code, message} of the first wrong values.
    quiet: print no errors.
    """

    def __init__(self, actions: AnyActions, file: Path, send: Send, *, quiet: bool) -> None:
        self.counts = dict.fromkeys((*DONE, "refused"), 0)
        self.errors: list[dict[str, object]] = []
        self._actions = actions
        self._file = file
        self._send = send
        self._quiet = quiet
        # A row may refer to a row of the same table in a later line: refused lines wait for that.
        resource = actions.resource
        self._patience = 0
        if any(relation.target == resource.topic for relation in resource.relations):
            self._patience = 2
        self._waiting: list[InputLine] = []
        self._references = references(actions)

    def run(self, *, skip: bool) -> None:
        """Import all batches.

        skip: commit each batch by itself; else commit all, or nothing.
        """
        conn = self._actions.connection()
        with nullcontext() if skip else db.transaction(conn):
            self._write_all(self._lines(), conn, skip)
            for patience in (2, 1, 0):
                self._patience = patience
                self._retry(conn, skip)
            if self.counts["refused"] and not skip:
                self.counts.update(dict.fromkeys(DONE, 0))
                self._report("nothing was imported", hint="correct it, or use --on-error skip")
                raise Rollback

    def _retry(self, conn: db.Connection, skip: bool) -> None:
        """Write the waiting lines, again and again as long as their number falls."""
        before = 0
        while self._waiting and len(self._waiting) != before:
            lines = self._waiting
            self._waiting = []
            before = len(lines)
            self._write_all(iter(lines), conn, skip)

    def _write_all(self, lines: Iterator[InputLine], conn: db.Connection, skip: bool) -> None:
        for batch in batches(lines):
            with db.transaction(conn):
                self._write(self._resolved(batch), conn)
            if self.counts["refused"] and not skip:
                return

    def _resolved(self, batch: list[InputLine]) -> list[InputLine]:
        """Return the lines with the keys of related rows; the others wait, or are refused."""
        lines, errors = resolve(batch, self._references)
        for index, wrong in errors.items():
            if self._patience and all(error.code == "no_such_row" for error in wrong):
                self._waiting.append(batch[index])
            else:
                self._refuse(batch[index], wrong)
        return [line for index, line in enumerate(lines) if index not in errors]

    def _lines(self) -> Iterator[InputLine]:
        """Yield the readable lines, and refuse the others. Shows the progress on a terminal."""
        resource = self._actions.resource
        # Columns that the table sets itself are ignored in the file.
        automatic = self._actions.served - {resource.key.name}
        shows_progress = sys.stderr.isatty() and not self._quiet
        types = {name: reference.column.type for name, reference in self._references.items()}
        types |= {column.name: column.type for column in resource.columns}
        types |= {relation.field: "many" for relation in resource.relations if relation.field}
        for count, line in enumerate(read_lines(self._file, types), 1):
            if line.error:
                self._refuse(line, [FieldError("", "malformed", line.error)])
            else:
                item = {n: v for n, v in line.item.items() if n not in automatic}
                yield line._replace(item=item)
            if shows_progress and count % BATCH == 0:
                print(f"{count} lines\r", end="", file=sys.stderr, flush=True)

    def _write(self, lines: Sequence[InputLine], conn: db.Connection) -> None:
        """Write these lines, except for refused ones, which bisection separates from the others.

        Lines that refer to missing rows wait: with patience 2 the whole batch, with 1 single lines.
        """
        if not lines:
            return
        try:
            result = self._send([line.item for line in lines], conn=conn)
        except (Invalid, Conflict, ConstraintViolation) as err:
            errors = getattr(err, "errors", ()) or [FieldError("", "refused", err.message)]
            patience = 1 if len(lines) == 1 else 2
            if self._patience >= patience and any(e.code == "no_such_row" for e in errors):
                self._waiting += lines
                return
            wrong = _by_line(errors)
            if not wrong and len(lines) == 1:
                wrong = {0: errors}
            for index in sorted(wrong):
                self._refuse(lines[index], wrong[index])
            remaining = [line for index, line in enumerate(lines) if index not in wrong]
            middle = len(remaining) if wrong else len(remaining) // 2
            self._write(remaining[:middle], conn)
            self._write(remaining[middle:], conn)
        else:
            if isinstance(result, int):
                result = (result, 0, 0)
            for name, count in zip(DONE, result):
                self.counts[name] += count

    def _refuse(self, line: InputLine, errors: Iterable[FieldError]) -> None:
        self.counts["refused"] += 1
        for error in errors:
            field = error.pointer[1:]
            why = error.message
            self._report(f"{field} {why}".strip(), f":{line.number}")
            if len(self.errors) < MAX_ERRORS:
                row = {"line": line.number, "field": field, "code": error.code, "message": why}
                self.errors.append(row)

    def _report(self, message: str, line: str = "", hint: str = "") -> None:
        if not self._quiet:
            error = ForgeError(f"{self._file}{line}: {message}", code="F610", hint=hint)
            console.print_error(error, sys.stderr)


def _by_line(errors: Iterable[FieldError]) -> dict[int, list[FieldError]]:
    """Group errors by the index that their pointer begins with: "/17/name" is "/name" of 17."""
    result = defaultdict(list)
    for error in errors:
        index, _, field = error.pointer[1:].partition("/")
        if index.isdigit():
            result[int(index)].append(FieldError("/" + field, error.code, error.message))
    return result
