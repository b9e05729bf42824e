"""An operation on many rows: its job, and the page with the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace as Item
from typing import Any

from ... import db, jobs
from ...auth import current_identity, to_metadata
from ...errors import NotFound
from ...i18n import current_language, format_number, in_language, text
from ...jobs import control
from ...wsgi import Request, Response
from ..fields import AnyActions, label_of
from ..layout import Hyperlink, Layout, messages_of
from ..templates import outcome
from ..titles import titles_of_keys

_MOST_SHOWN = 100  # rows with an error that are kept and shown
_RELOAD = 3  # seconds between two looks at a job that has not ended


class PerformOnRows:
    """Performs an operation on rows: on all or, if one has an error, on none."""

    kind = "forge_perform"
    timeout = 3600.0

    def __init__(self, forge_actions: Mapping[str, AnyActions]) -> None:
        self._actions = forge_actions

    def work(self, job: jobs.Job) -> None:
        """Perform it, and complete the job with the errors of rows."""
        args = job.raw_args
        actions = self._actions[args["topic"]]
        keys = [actions.read_key(key) for key in args["keys"]]
        with in_language(args["language"]), db.transaction(job.conn):
            outcomes = actions.perform_each(keys, args["operation"], reason=args["reason"])
            failed = [(str(key), messages_of(err)) for key, err in outcomes.items() if err]
            output = {"failed": dict(failed[:_MOST_SHOWN]), "count": len(failed)}
            job.complete_tx(job.conn, output)


def insert_operation(
    conn: db.Connection, topic: str, keys: Sequence[Any], operation: str, reason: str
) -> int:
    """Insert the job of an operation, which acts for the current user. Returns its id."""
    args: dict[str, Any] = {"topic": topic, "operation": operation, "reason": reason}
    args |= {"keys": [str(key) for key in keys], "language": current_language()}
    return jobs.insert_tx(conn, PerformOnRows, args)


def show_outcome(actions: AnyActions, layout: Layout, path: str, request: Request) -> Response:
    """Show the result of a job to its own user. path: of the list."""
    actions.allow("read")
    id, url = request.params["job"], request.root + path
    job = control.show_job(actions.connection(), int(id)) if id.isdecimal() else {}
    args, metadata = job.get("args", {}), job.get("metadata", {})
    owner = {name: metadata[name] for name in ("user", "tenant") if name in metadata}
    is_shown = job.get("kind") == PerformOnRows.kind and args["topic"] == actions.resource.topic
    if not is_shown or owner != to_metadata(current_identity()):
        raise NotFound(text("nothing is at this address"))
    count, failed = len(args["keys"]), metadata.get("output", {}).get("failed", {})
    notice, problem, has_ended = "", "", job["finalized_at"] is not None
    if failed:
        total = format_number(metadata["output"]["count"])
        problem = text("Nothing was changed. Rows with an error: {count}.", count=total)
    elif job["state"] == "completed":
        notice = text("Done for {count} rows.", count=format_number(count))
    elif has_ended:
        problem = text("Nothing was changed. An administrator sees the reason: job {id}.", id=id)
    else:
        notice = text("Working on {count} rows …", count=format_number(count))
    keys = [actions.read_key(key) for key in failed]
    names = titles_of_keys(actions, keys, deleted=args["operation"] == "restore")
    kind = label_of(actions.resource.event)
    rows = [Item(title=names.get(key, kind), problem=failed[str(key)]) for key in keys]
    label = label_of(args["operation"])
    title = text("{operation}: {what}", operation=label, what=label_of(args["topic"]))
    context: dict[str, Any] = {"notice": notice, "problem": problem, "rows": rows, "back": url}
    context["trail"] = [Hyperlink(label_of(args["topic"]), url)]
    page = layout.page(request, outcome.render, title, **context)
    if not has_ended:
        page.headers.append(("Refresh", str(_RELOAD)))
    return page
