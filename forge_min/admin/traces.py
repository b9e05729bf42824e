"""/debug/traces: the requests, jobs and deliveries that ended last, each as a tree of its spans."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..observe.profiles import Question, Wait
from ..wsgi import Handler, Raw, Request, Response, join, preferred, tag, text_response
from .inside import Inside
from .profiles import silent

if TYPE_CHECKING:
    from ..observe.recent import Branch, Tree

PATH = "/debug/traces"
_MOST = 100
_NONE = (
    "There are none. In production a trace is kept when observe.otlp_endpoint is set and"
    " observe.sample_ratio, or who asks, chooses it; in development each one is."
)


class Traces:
    """inside: the processes that are asked. wait: as of `Inspector.ask`. page: a whole page, of its
    title and content.
    """

    def __init__(self, inside: Inside, wait: Wait, page: Callable[[str, str], Response]) -> None:
        self._inside, self._wait, self._page = inside, wait, page

    def routes(self) -> dict[str, Handler]:
        """It may be asked for at any time."""
        return {f"GET {PATH}": self._show}

    def _show(self, request: Request) -> Response:
        names = self._inside.serving()
        told = self._inside.ask(names, Question("spans"), self._wait)
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
        shown = join(map(_tree, trees)) if trees else tag("p", _NONE)
        said = [tag("p", line, class_="bad") for line in lost]
        return self._page("Traces", join([tag("h1", "Traces"), *said, shown]))


def _plain(tree: Tree) -> dict[str, object]:
    return {**tree._asdict(), "branches": [branch._asdict() for branch in tree.branches]}


def _tree(tree: Tree) -> Raw:
    root = tree.branches[0]
    at = datetime.fromtimestamp(tree.at, UTC).isoformat(" ", "milliseconds")[:23]
    state = root.attributes.get("http.response.status_code", "")
    head = [
        tag("b", root.name), f" {state} " if state else " ", _took(root.seconds),
        tag("small", f"{at} UTC · {tree.trace_id}"),
    ]  # fmt: skip
    rows = [tag("tr", join([
        tag("td", "\u2007" * 2 * branch.depth + branch.name, **_state(branch)),
        tag("td", _took(branch.seconds)),
        tag("td", _bar(branch, root.seconds)),
        tag("td", _said(branch)),
    ])) for branch in tree.branches]  # fmt: skip
    left = tag("p", f"and {tree.left_out} more spans") if tree.left_out else Raw()
    names = join(tag("th", name, scope="col") for name in ("span", "took", "when", "what"))
    table = tag("table", join([tag("thead", tag("tr", names)), tag("tbody", join(rows))]))
    inside = tag("div", table, class_="scroll", tabindex="0", role="group", aria_label=root.name)
    return tag("details", join([tag("summary", join(head)), inside, left]), class_="trace card")


def _state(branch: Branch) -> dict[str, str]:
    return {"class_": "bad"} if branch.failed else {}


def _took(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _bar(branch: Branch, whole: float) -> Raw:
    """Where it lies in the time of its root."""
    scale = 100 / max(whole, 1e-9)
    start = min(max(branch.start * scale, 0.0), 100.0)
    width = min(max(branch.seconds * scale, 0.5), 100.5 - start)
    rect = tag("rect", "", x=f"{start:.2f}", y="1", width=f"{width:.2f}", height="6")
    return tag("svg", rect, viewBox="0 0 100 8", class_="span", aria_hidden="true")


def _said(branch: Branch) -> Raw:
    found = [
        tag("li", join([tag("small", f"{name} "), str(value)]))
        for name, value in branch.attributes.items()
    ]
    errors = [tag("li", event, class_="bad") for event in branch.events]
    return tag("ul", join([*errors, *found]))
