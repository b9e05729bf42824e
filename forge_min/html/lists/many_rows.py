"""An operation on many rows: its job, and the page with the result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace as Item
from typing import Any

from psycopg import Rollback

from ... import db, jobs
from ...auth import as_identity, credentials, current_identity, to_metadata
from ...errors import NotFound, Unauthenticated
from ...i18n import current_language, format_number, in_language, text
from ...jobs import control
from ...wsgi import Request, Response, first
from ..fields import AnyActions, Texts, label_of
from ..layout import Hyperlink, Layout, messages_of
from ..templates import outcome
from ..titles import MISSING, titles_of_keys

_MOST_SHOWN = 100  # rows with an error that are kept and shown
_SIZE = 10  # rows of one transaction: also on a busy machine, a write of a request can wait for it
_LOCK_WAIT = 1.0  # seconds that it waits for a lock while others wait for its rows
_RELOAD = 3  # seconds until the page of a job that has not ended is loaded again


class PerformOnRows:
    """Performs an operation on rows, on none if one has an error before the first is changed.

    All rows are checked first. Then each transaction changes some of them and saves how many are
    done, so that no row is locked for long and the next run continues there. It stops at a row with
    an error. A rule of the project may depend on all rows, so then there is one transaction.
    """

    kind = "forge_perform"
    timeout = 3600.0
    max_attempts = 5

    def __init__(self, forge_actions: Mapping[str, AnyActions]) -> None:
        self._actions = forge_actions

    def work(self, job: jobs.Job) -> None:
        """Perform it with the present roles of the user, and store the errors of rows."""
        args = job.raw_args
        actions = self._actions[args["topic"]]
        keys = [actions.read_key(key) for key in args["keys"]]
        roles = frozenset(args["roles"])
        credential = args["credential"]
        user = replace(current_identity(), system=False, roles=roles, credential=credential)
        identity = credentials.renewed(job.conn, user)
        if identity is None:
            raise jobs.Discard("the session of the user has ended")
        token = db.lock_timeout.set(_LOCK_WAIT)
        try:
            with as_identity(identity), in_language(args["language"]):
                _perform(job, actions, keys)
        finally:
            db.lock_timeout.reset(token)


def _perform(job: jobs.Job, actions: AnyActions, keys: Sequence[Any]) -> None:
    args = job.raw_args
    operation = args["operation"]
    reason = args["reason"]
    versions = args.get("versions", ())  # not of a job that an earlier release inserted
    size = _SIZE
    if actions.resource.has_rule:
        size = len(keys)
    done = job.metadata.get("output", {}).get("done", 0)
    failed: list[tuple[str, str]] = []

    def perform(start: int) -> None:
        part = slice(start, start + size)
        expected = versions[part]
        outcomes = actions.perform_each(keys[part], operation, reason=reason, versions=expected)
        for key, error in outcomes.items():
            if error is not None:
                failed.append((str(key), messages_of(error)))

    if done == 0 and size < len(keys):
        for start in range(0, len(keys), size):
            with db.transaction(job.conn):
                perform(start)
                raise Rollback
    while done < len(keys) and not failed:
        with db.transaction(job.conn):
            perform(done)
            if not failed:
                done += size
                job.save_tx(job.conn, {"done": done})
    examples = dict(failed[:_MOST_SHOWN])
    job.complete_tx(job.conn, {"done": done, "failed": examples, "count": len(failed)})


def insert_operation(
    actions: AnyActions, versions: Mapping[Any, int], operation: str, pairs: Texts
) -> int:
    """Insert the job of an operation, which acts as the current user. Returns its id.

    versions: key of each row → the version that the user has confirmed.
    pairs: of the form; the job is inserted once for its token.

    Raises Unauthenticated, Forbidden.
    """
    identity = actions.allow(operation)
    if not identity.user:
        raise Unauthenticated(text("sign in first"))
    args = {
        "topic": actions.resource.topic,
        "operation": operation,
        "keys": [str(key) for key in versions],
        "versions": [*versions.values()],
        "reason": first(pairs, "reason"),
        "token": first(pairs, "_once"),
        "roles": sorted(identity.roles),
        "credential": identity.credential,
        "language": current_language(),
    }
    once = jobs.Unique(ended=("completed", "discarded"))
    return jobs.insert_tx(actions.connection(), PerformOnRows, args, unique=once)


def rows_with_problems(
    actions: AnyActions, operation: str, problems: Mapping[Any, str]
) -> list[Item]:
    """Return the title and the problem of rows on which an operation is performed.

    problems: by key.
    """
    titles = titles_of_keys(actions, [*problems], deleted=operation == "restore")
    items = problems.items()
    return [Item(title=titles.get(key, MISSING), problem=problem) for key, problem in items]


def show_outcome(actions: AnyActions, layout: Layout, path: str, request: Request) -> Response:
    """Show the result of a job to its own user. path: of the list."""
    actions.allow("read")
    conn = actions.connection()
    topic = actions.resource.topic
    id = request.params["job"]
    job = {}
    if re.fullmatch("[0-9]{1,18}", id):
        job = control.show_job(conn, int(id))
    args = job.get("args", {})
    metadata = job.get("metadata", {})
    owner = {name: metadata[name] for name in ("user", "tenant") if name in metadata}
    is_shown = job.get("kind") == PerformOnRows.kind and args["topic"] == topic
    if not is_shown or owner != to_metadata(current_identity()):
        raise NotFound(text("nothing is at this address"))
    has_ended = job["finalized_at"] is not None
    count = format_number(len(args["keys"]))
    output = metadata.get("output", {})
    failed = output.get("failed", {})
    notice = problem = ""
    if not has_ended:
        notice = text("Working on {count} rows …", count=count)
    elif job["state"] == "completed" and not failed:
        notice = text("Done for {count} rows.", count=count)
    else:
        problem = text("Nothing was changed.")
        done = output.get("done")
        if done:
            problem = text("Done for {count} rows, then stopped.", count=format_number(done))
        reason = text("An administrator sees the reason: job {id}.", id=id)
        if failed:
            total = format_number(output["count"])
            reason = text("Rows with an error: {count}.", count=total)
        problem = f"{problem} {reason}"
    if has_ended:
        db.record_position(conn)  # so that the list of this browser shows them
    operation = args["operation"]
    problems = {actions.read_key(key): message for key, message in failed.items()}
    link = Hyperlink(label_of(topic), request.root + path)
    title = text("{operation}: {what}", operation=label_of(operation), what=link.label)
    page = layout.page(
        request,
        outcome.render,
        title,
        notice=notice,
        problem=problem,
        rows=rows_with_problems(actions, operation, problems),
        back=link.href,
        trail=[link],
    )
    if not has_ended:
        page.headers.append(("Refresh", str(_RELOAD)))
    return page
