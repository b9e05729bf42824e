"""/debug/traces: the requests, jobs and deliveries that ended last, each as a tree of its spans."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace as Item
from typing import TYPE_CHECKING

from ..observe import Inspection, Wait
from ..wsgi import Handler, Raw, Request, Response, html_response, preferred, text_response
from .inspection import ProcessInspector
from .profiles import silent
from .templates import traces as template

if TYPE_CHECKING:
    from ..observe import Branch, Tree

PATH = "/debug/traces"
_MOST = 100
_NONE = (
    "There are none. In production a trace is kept when observe.otlp_endpoint is set and"
    " observe.sample_ratio, or who asks, chooses it; in development each one is."
)


class Traces:
    """inside: the processes that are asked. wait: as of `Inspector.ask`. project: its name."""

    def __init__(self, inside: ProcessInspector, wait: Wait, project: str) -> None:
        self._inside, self._wait, self._project = inside, wait, project

    def routes(self) -> dict[str, Handler]:
        """It may be asked for at any time."""
        return {f"GET {PATH}": self._show}

    def _show(self, request: Request) -> Response:
        names = self._inside.serving()
        told = self._inside.ask(names, Inspection("spans"), self._wait)
        lost = silent(names, told)
        trees: list[Tree] = [tree for of in told.values() for tree in of.answer]
        trees = sorted(trees, key=lambda tree: -tree.at)[:_MOST]
        kind = preferred(request, ["text/plain", "text/html", "application/json"])
        if kind == "application/json":
            headers = [("X-No-Answer", ", ".join(lost))] if lost else []
            body = json.dumps([_plain(tree) for tree in trees], default=str)
            return Response(200, body.encode(), [("Content-Type", kind), *headers])
        if kind == "text/plain":
            lines = [*(map(str, trees) if trees else [_NONE]), *lost]
            return text_response("\n".join(lines) + "\n")
        page = template.render(
            project=self._project,
            title="Traces",
            head=Raw(),
            lost=lost,
            none="" if trees else _NONE,
            trees=list(map(_tree, trees)),
        )
        # A span may hold half of a surrogate pair, which has no UTF-8.
        return html_response(page.encode(errors="replace").decode())


def _plain(tree: Tree) -> dict[str, object]:
    return {**tree._asdict(), "branches": [branch._asdict() for branch in tree.branches]}


def _tree(tree: Tree) -> Item:
    """As traces.html shows it."""
    root = tree.branches[0]
    return Item(
        name=root.name,
        state=root.attributes.get("http.response.status_code", ""),
        took=_took(root.seconds),
        at=datetime.fromtimestamp(tree.at, UTC).isoformat(" ", "milliseconds")[:23],
        trace_id=tree.trace_id,
        left_out=tree.left_out,
        branches=[_branch(branch, root.seconds) for branch in tree.branches],
    )


def _branch(branch: Branch, whole: float) -> Item:
    """whole: seconds of its root, in whose time it lies."""
    scale = 100 / max(whole, 1e-9)
    start = min(max(branch.start * scale, 0.0), 100.0)
    return Item(
        name="\u2007" * 2 * branch.depth + branch.name,
        failed=branch.failed,
        took=_took(branch.seconds),
        start=f"{start:.2f}",
        width=f"{min(max(branch.seconds * scale, 0.5), 100.5 - start):.2f}",
        events=branch.events,
        attributes=[Item(name=name, value=value) for name, value in branch.attributes.items()],
    )


def _took(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
