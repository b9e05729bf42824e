"""/debug/traces: the latest requests, jobs and deliveries that ended, as trees of spans."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace as Item
from typing import TYPE_CHECKING

from ..observe import Inspection, Wait
from ..wsgi import Raw, Request, Response, html_response, preferred, text_response
from .inspection import ProcessInspector
from .profiles import missing_lines
from .templates import traces as template

if TYPE_CHECKING:
    from ..observe import Branch, Tree

_MOST = 100
_NONE = (
    "No traces yet. In production they are recorded if observe.sample_ratio or otlp_endpoint is"
    " set, and only sampled ones: FORGE_OBSERVE_SAMPLE_RATIO=1 records all. So does development."
)


def show_traces(
    inspector: ProcessInspector, wait: Wait, project: str, request: Request
) -> Response:
    """Return the traces as text, as a page or as JSON.

    wait: as in `Inspector.inspect`.
    project: the project's name.
    """
    names = inspector.serving()
    replies = inspector.inspect(names, Inspection("spans"), wait)
    missing = missing_lines(names, replies)
    trees = []
    for reply in replies.values():
        trees += reply.result
    trees.sort(key=lambda tree: -tree.at)
    trees = trees[:_MOST]
    kind = preferred(request, ["text/plain", "text/html", "application/json"])
    if kind == "application/json":
        headers = [("Content-Type", kind)]
        if missing:
            headers.append(("X-No-Answer", ", ".join(missing)))
        body = json.dumps([_plain(tree) for tree in trees], default=str)
        return Response(200, body.encode(), headers)
    if kind == "text/plain":
        lines = [str(tree) for tree in trees] or [_NONE]
        return text_response("\n".join([*lines, *missing]) + "\n")
    page = template.render(
        project=project,
        title="Traces",
        head=Raw(),
        missing=missing,
        none="" if trees else _NONE,
        trees=list(map(_tree, trees)),
    )
    # A span may contain a lone surrogate, which UTF-8 cannot encode.
    return html_response(page.encode(errors="replace").decode())


def _plain(tree: Tree) -> dict[str, object]:
    branches = [branch._asdict() for branch in tree.branches]
    return {**tree._asdict(), "branches": branches}


def _tree(tree: Tree) -> Item:
    """Return the values of a trace for traces.html."""
    root = tree.branches[0]
    return Item(
        name=root.name,
        state=root.attributes.get("http.response.status_code", ""),
        took=f"{root.seconds * 1e3:.1f} ms",
        at=datetime.fromtimestamp(tree.at, UTC).isoformat(" ", "milliseconds")[:23],
        trace_id=tree.trace_id,
        left_out=tree.left_out,
        branches=[_branch(branch, root.seconds) for branch in tree.branches],
    )


def _branch(branch: Branch, total: float) -> Item:
    """Return the values of a span for traces.html. total: seconds of the root."""
    scale = 100 / max(total, 1e-9)
    start = min(max(branch.start * scale, 0.0), 100.0)
    width = min(max(branch.seconds * scale, 0.5), 100.5 - start)
    return Item(
        name="\u2007" * 2 * branch.depth + branch.name,
        failed=branch.failed,
        took=f"{branch.seconds * 1e3:.1f} ms",
        start=f"{start:.2f}",
        width=f"{width:.2f}",
        events=branch.events,
        attributes=[Item(name=name, value=value) for name, value in branch.attributes.items()],
    )
