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

from ..resources import files
from ..wsgi import SECURITY_HEADERS, content_type, escape, prefers_html
from .problems import Problem, problems_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

HERE = "/forge-dev/"
_ASSETS = files("forge_min.dev") / "assets"
_HEADERS = [*SECURITY_HEADERS, ("Cache-Control", "no-store")]
# A fragment has none of these: what a script inserts into a page must not be added to.
_WHOLE = re.compile(rb"<!doctype html|<html[\s>]|<body[\s>]", re.IGNORECASE)


class State(NamedTuple):
    """What pages are told. page, assets, styles: numbers of the process that serves, and of what is
    in static/. A page with another one loads itself, or its stylesheets, again.
    """

    page: int
    assets: int
    styles: int
    problems: Sequence[Problem] = ()


class Overlay:
    """Stands around `app`. state: what is so at first; `hear` takes what is so by now."""

    def __init__(self, app: WSGIApplication, root: Path, state: State) -> None:
        self.app = app
        # SAFETY: a page of this process has its number, also when the next one serves already.
        self._root, self._state, self._own = root, state, state.page
        self._failures, self._failed = 0, list[Problem]()  # of requests: their number, the last one
        self._caught = Caught()
        logging.getLogger("forge_min").addHandler(self._caught)

    def hear(self, state: State) -> None:
        """Take what open pages are answered from now on."""
        self._state = state

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if path == f"{HERE}state":
            return self._report(start)
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
            self._failures, self._failed = self._failures + 1, failed
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
        page = (before or after) + self._tail(failed) + end + (after if before else b"")
        dropped = ("content-length", "etag", "cache-control", "last-modified")
        kept = [pair for pair in headers if pair[0].lower() not in dropped]
        return [page], [*kept, ("Content-Length", str(len(page))), ("Cache-Control", "no-store")]

    def _tail(self, failed: Sequence[Problem]) -> bytes:
        """The overlay of a page. The script replaces the content of the inner element: the error of
        the request that made the page stays as long as the page.
        """
        state = self._state._replace(page=self._own)
        tail = (
            f'<link rel="stylesheet" href="{HERE}overlay.css">'
            f'<section id="forge-dev" role="status">{articles(failed)}'
            f'<div id="forge-dev-state">{articles(state.problems)}</div></section>'
            f'<script src="{HERE}reload.js" data-page="{_name(state)}"'
            f' data-styles="{state.styles}" data-failures="{self._failures}" defer></script>'
        )
        return tail.encode("ascii", "xmlcharrefreplace")  # whatever the page's own encoding is

    def _report(self, start: StartResponse) -> list[bytes]:
        """Report the state to an open page.

        A page may have sent a request that failed by a script, which does not show the response: it
        shows the last failure, if there were fewer when it was made.
        """
        document = {
            "page": _name(self._state),
            "styles": str(self._state.styles),
            "html": articles(self._state.problems),
            "failures": str(self._failures),
            "failed": articles(self._failed),
        }
        start("200 OK", [("Content-Type", "application/json"), *_HEADERS])
        return [json.dumps(document).encode()]


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


def _name(state: State) -> str:
    return f"{state.page}-{state.assets}"


def _asset(name: str, start: StartResponse) -> list[bytes]:
    if name not in ("overlay.css", "reload.js"):
        start("404 Not Found", [("Content-Type", "text/plain"), *_HEADERS])
        return [b"there is no such file\n"]
    start("200 OK", [("Content-Type", content_type(name)), *_HEADERS])
    return [(_ASSETS / name).read_bytes()]
