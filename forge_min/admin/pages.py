"""The pages of the admin server itself: the overview, and the forms of the profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from string import Template

from ..data import files
from ..wsgi import Handler, Raw, Request, Response, escape, html_response, join, tag, void
from .history import History
from .inside import Inside
from .plots import plots
from .profiles import PATH
from .traces import PATH as TRACES

_PAGE = Template((files(__package__) / "page.html").read_text("utf-8"))
# Without scripts the page is loaded anew; with them only its plots are.
_FRESH = (
    '<noscript><meta http-equiv="refresh" content="10"></noscript>\n'
    '<script src="/static/admin/admin.js" defer></script>'
)
_PLACES = {
    "/jobs": "queues, workers, each job, and what can be done to them",
    "/metrics": "for Prometheus",
    "/healthz": "whether the process lives, and what runs",
    "/readyz": "whether it can serve, and why not",
    PATH: "where time and memory go: threads, profile, heap, gc",
    TRACES: "the last requests, jobs and deliveries, each as a tree of its spans",
}
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16"'
    b' rx="3" fill="#0b5cad"/><path d="M2 11l3-4 3 2 3-6 3 5" fill="none" stroke="#fff"'
    b' stroke-width="1.6"/></svg>'
)


class Pages:
    """project: the site's name. health: what /healthz says."""

    def __init__(
        self,
        project: str,
        health: Callable[[], Mapping[str, object]],
        history: History,
        inside: Inside,
    ) -> None:
        self._project, self._health = project, health
        self._history, self._inside = history, inside
        self._started = time.monotonic()

    def routes(self) -> dict[str, Handler]:
        """They are read at any time; none asks a database."""
        return {
            "GET /": self._overview,
            f"GET {PATH}": self._profiles,
            "GET /favicon.ico": lambda _: Response(200, _ICON, [("Content-Type", "image/svg+xml")]),
        }

    def _overview(self, request: Request) -> Response:
        said, serving = self._health(), self._inside.serving()
        facts = {
            "version": said.get("version", "unknown"),
            "commit": str(said.get("commit", "unknown"))[:12],
            "core": said.get("impl", "unknown"),
            "up": uptime(time.monotonic() - self._started),
            "processes": len(serving),
        }
        shown = [tag("li", join([f"{name} ", tag("b", value)])) for name, value in facts.items()]
        state = tag("span", tag("a", "readiness", href="/readyz"), data_ready="")
        content = [
            tag("h1", self._project),
            tag("ul", join([*shown, tag("li", state),
                            tag("li", tag("span", "loaded anew every 10 s", data_told=""))]),
                class_="summary"),
            tag("div", plots(self._history.points()), data_fresh=""),
            tag("h2", "More"), _places(_PLACES),
        ]  # fmt: skip
        return self.page("Overview", join(content), _FRESH)

    def _profiles(self, request: Request) -> Response:
        names = self._inside.names()
        process = _select("process", ["all", *names]) if len(names) > 1 else Raw()
        count = _input("top", "30", "Lines")
        content = [
            tag("h1", "Profiles"),
            tag("h2", "Processor time"),
            _form("profile", "Take a profile", [
                _input("seconds", "10", "Seconds"), _input("hz", "100", "Looks per second"),
                _select("clock", ["cpu", "wall"]), process,
            ], "A flame graph, once the seconds are over. cpu: who uses a processor; wall: who"
               " waits as well. One profile at a time; the site goes on meanwhile."),
            tag("h2", "Memory"),
            tag("div", join([
                _form("heap", "Trace for so long",
                      [_input("seconds", "5", "Seconds"), count, process],
                      "What these seconds leave behind, by line of code."),
                _form("heap", "Look", [count, process],
                      "Once tracing is on: what is held, what has changed since the last look."),
                _form("heap", "Begin tracing", [process],
                      "Small allocations then take some ten times as long, until it ends.",
                      end="End tracing"),
            ]), class_="forms"),
            tag("h2", "Threads and garbage collection"),
            tag("div", join([
                _form("threads", "Show the stacks", [process], "Every thread's, with its name."),
                _form("gc", "Show the types", [count, process],
                      "What the collector looks after, and how often it ran."),
            ]), class_="forms"),
        ]  # fmt: skip
        return self.page("Profiles", join(content))

    def page(self, title: str, content: str, head: str = "") -> Response:
        """A whole page."""
        project = escape(self._project)
        text = _PAGE.substitute(project=project, title=title, content=content, head=head)
        # A span may hold half of a surrogate pair, which has no UTF-8.
        return html_response(text.encode(errors="replace").decode())


def uptime(seconds: float) -> str:
    """The two largest units: "3 d 4 h"."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    largest = next((i for i, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[largest : largest + 2])


def _places(places: Mapping[str, str]) -> Raw:
    rows = [
        part
        for path, what in places.items()
        for part in (tag("dt", tag("a", path, href=path)), tag("dd", what))
    ]
    return tag("dl", join(rows), class_="places card")


def _form(does: str, button: str, fields: Sequence[Raw], about: str, *, end: str = "") -> Raw:
    """end: the button of a form that begins something, which ends it again."""
    buttons = [tag("button", button)]
    if end:
        buttons = [
            tag("button", button, name="action", value="start"),
            tag("button", end, name="action", value="stop", class_="quiet"),
        ]
    inside = join([*fields, *buttons, tag("p", about)])
    method = "post" if end else "get"
    return tag("form", inside, class_="ask card", action=f"{PATH}{does}", method=method)


def _input(name: str, value: str, label: str) -> Raw:
    least, most = ("0.1", "120") if name == "seconds" else ("1", "1000")
    field = void("input", type="number", name=name, value=value, min=least, max=most, step=least)
    return tag("label", join([label, field]))


def _select(name: str, values: Sequence[str]) -> Raw:
    options = join(tag("option", value) for value in values)
    return tag("label", join([name.capitalize(), tag("select", options, name=name)]))
