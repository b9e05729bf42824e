"""What development adds to every page: problems, and a script that reloads the page.

It stands around the application, below /forge-dev/ and at the end of each page, and obeys the
policy of all pages: default-src 'self'.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data import files
from ..fanout import Limiter, StreamWriter, Topic
from ..wsgi import SECURITY_HEADERS, content_type, escape, prefers_html
from .problems import Problem, problems_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

HERE = "/forge-dev/"
_ASSETS = files("forge_min.dev") / "assets"
_HEADERS = [*SECURITY_HEADERS, ("Cache-Control", "no-store")]
_MOST = 64  # streams: one for each tab that is seen
# A fragment has none of these: what a script inserts into a page must not be added to.
_WHOLE = re.compile(rb"<!doctype html|<html[\s>]|<body[\s>]", re.IGNORECASE)
_RETRY = 100  # milliseconds after which a page asks the next process


class State(NamedTuple):
    """What pages are told. page, assets, styles: numbers of the process that serves, and of what is
    in static/. A page with another one loads itself, or its stylesheets, again.
    """

    page: int
    assets: int
    styles: int
    problems: Sequence[Problem] = ()

    def line(self) -> bytes:
        """For another process, which `read` is in."""
        return json.dumps(self).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> State:
        """What `line` gave."""
        page, assets, styles, problems = json.loads(line)
        return cls(page, assets, styles, [Problem(*one) for one in problems])


class Overlay:
    """Stands around `app`. state: what is so at first; `hear` takes what is so by now."""

    def __init__(self, app: WSGIApplication, root: Path, state: State) -> None:
        self.app = app
        # SAFETY: a page of this process has its number, also when the next one serves already.
        self._root, self._state, self._own = root, state, state.page
        self._topic = Topic(8)
        self._writer = StreamWriter(heartbeat=15.0, buffer_size=8)
        self._limiter = Limiter(max_total=_MOST, max_per_user=_MOST)
        self._caught = Caught()

    def start(self) -> None:
        """Begin to send: from here on there are threads."""
        self._writer.start()
        logging.getLogger("forge_min").addHandler(self._caught)

    def stop(self) -> None:
        """End every stream. Idempotent."""
        logging.getLogger("forge_min").removeHandler(self._caught)
        self._writer.stop(1.0)

    def hear(self, state: State) -> None:
        """Tell every open page."""
        self._state = state
        self._topic.publish(_frame(state))

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if path == f"{HERE}events":
            return self._stream(environ, start)
        if path.startswith(HERE):
            return _asset(path.removeprefix(HERE), start)
        environ.pop("HTTP_ACCEPT_ENCODING", None)  # a page that is packed could not be added to
        answer: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer[:] = [status, headers, exc_info]
            return None  # ours never writes (PEP 3333, the write() callable)

        self._caught.of_thread.error = None
        body = self.app(environ, begin)
        status, headers, exc_info = answer
        error, failed = self._caught.of_thread.error, list[Problem]()
        if status.startswith("500") and error is not None:
            failed = problems_of(error, self._root)
            # An open page may have sent this request by a script, which does not show the response.
            state = self._state
            self._topic.publish(_frame(state._replace(problems=[*failed, *state.problems])))
        kind = next((v for n, v in headers if n.lower() == "content-type"), "")
        if kind.startswith("text/html") and isinstance(body, list):
            page = b"".join(body)
            if _WHOLE.search(page):
                body, headers = self._added(failed, page, headers)
        start(status, headers, *([exc_info] if exc_info else []))
        return body

    def _added(
        self, failed: Sequence[Problem], page: bytes, headers: list[tuple[str, str]]
    ) -> tuple[list[bytes], list[tuple[str, str]]]:
        """Return the page with the problems of its own request and of the project at its end."""
        before, end, after = page.rpartition(b"</body>")
        page = (
            (before or after)
            + _tail(failed, self._state._replace(page=self._own))
            + end
            + (after if before else b"")
        )
        dropped = ("content-length", "etag", "cache-control", "last-modified")
        kept = [pair for pair in headers if pair[0].lower() not in dropped]
        return [page], [*kept, ("Content-Length", str(len(page))), ("Cache-Control", "no-store")]

    def _stream(self, environ: dict[str, Any], start: StartResponse) -> list[bytes]:
        # What comes between the two is told twice, which changes nothing.
        subscription = self._topic.subscribe()
        first = b"retry: %d\n\n%b" % (_RETRY, _frame(self._state))
        lease = self._limiter.acquire("")
        environ["forge.stream"](lambda fd: self._writer.adopt(fd, [subscription], lease, first))
        start("200 OK", [("Content-Type", "text/event-stream"), *_HEADERS])
        return [b""]


class Caught(logging.Handler):
    """Keeps the error of the request that a thread answers, which the log alone is told."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.of_thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Of each record of our loggers."""
        if record.exc_info:
            self.of_thread.error = record.exc_info[1]


def explanation(environ: dict[str, Any], start: StartResponse) -> list[bytes]:
    """The application while there is none that could be started: an empty page."""
    if prefers_html(environ.get("HTTP_ACCEPT")):
        kind, page = "text/html; charset=utf-8", b"<!doctype html><title>forge-min dev</title>"
        page += b"<body><p>This project cannot be started.</p></body>"
    else:
        kind, page = "text/plain", b"this project cannot be started: see the terminal\n"
    length = ("Content-Length", str(len(page)))
    start("503 Service Unavailable", [("Content-Type", kind), length, *_HEADERS])
    return [page]


def articles(problems: Sequence[Problem]) -> str:
    """Format each problem as HTML."""
    return "".join(
        f'<article class="{"notice" if problem.notice else "error"}">'
        f"<h2>{escape(problem.title)}</h2><pre>{escape(problem.text)}</pre></article>"
        for problem in problems
    )


def _tail(failed: Sequence[Problem], state: State) -> bytes:
    """The overlay of a page. An event replaces the content of the inner element: the error of the
    request that made the page stays as long as the page.
    """
    tail = (
        f'<link rel="stylesheet" href="{HERE}overlay.css">'
        f'<section id="forge-dev" role="status">{articles(failed)}'
        f'<div id="forge-dev-state">{articles(state.problems)}</div></section>'
        f'<script src="{HERE}reload.js" data-page="{_name(state)}" data-styles="{state.styles}"'
        " defer></script>"
    )
    return tail.encode("ascii", "xmlcharrefreplace")  # whatever the page's own encoding is


def _name(state: State) -> str:
    return f"{state.page}-{state.assets}"


def _frame(state: State) -> bytes:
    told = {"page": _name(state), "styles": state.styles, "html": articles(state.problems)}
    return f"data: {json.dumps(told)}\n\n".encode()


def _asset(name: str, start: StartResponse) -> list[bytes]:
    if name not in ("overlay.css", "reload.js"):
        start("404 Not Found", [("Content-Type", "text/plain"), *_HEADERS])
        return [b"there is no such file\n"]
    start("200 OK", [("Content-Type", content_type(name)), *_HEADERS])
    return [(_ASSETS / name).read_bytes()]
