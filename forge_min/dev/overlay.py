"""The overlay that development adds to every page: problems, and a script that reloads the page.

It wraps the application, serves /forge-dev/, and appends to each HTML page. It obeys the content
security policy of all pages, default-src 'self'.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Sequence
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..mail import OUTBOX
from ..resources import files
from ..wsgi import SECURITY_HEADERS, Request, content_type, escape, preferred
from .problems import Problem, problems_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

HERE = "/forge-dev/"
MOST = 50  # messages on the page of mail
_URL = re.compile(r"https?://[^\s<>\"]+")
_ASSETS = files("forge_min.dev") / "assets"
_HEADERS = [*SECURITY_HEADERS, ("Cache-Control", "no-store")]
# A fragment, which a script inserts into a page, has none of these and gets no overlay.
_WHOLE_PAGE = re.compile(rb"<!doctype html|<html[\s>]|<body[\s>]", re.IGNORECASE)


class State(NamedTuple):
    """The state that pages compare with their own.

    page: number of the serving process. A page with another number reloads.
    assets: number of the files in static/. A page with another number reloads.
    styles: number of the stylesheets. A page with another number reloads them.
    problems: the problems to show.
    """

    page: int
    assets: int
    styles: int
    problems: Sequence[Problem] = ()


class Overlay:
    """Wraps `app`. `update` replaces the first `state`."""

    def __init__(self, app: WSGIApplication, root: Path, state: State) -> None:
        self.app = app
        self._root = root
        self._state = state
        # SAFETY: a page of this process has its number even if the next process serves already.
        self._page_number = state.page
        self._failures = 0  # failed requests
        self._last_problems: list[Problem] = []  # of the last one
        self._errors = RequestErrors()
        logging.getLogger("forge_min").addHandler(self._errors)

    def update(self, state: State) -> None:
        """Set the state that open pages get from now on."""
        self._state = state

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Serve a request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if path == f"{HERE}state":
            return self._report(start)
        if path == f"{HERE}mail":
            page = mailbox(self._root / OUTBOX).encode()
            return _respond(start, "200 OK", "text/html; charset=utf-8", page)
        if path.startswith(HERE):
            return _asset(path.removeprefix(HERE), start)
        environ.pop("HTTP_ACCEPT_ENCODING", None)  # a compressed page cannot be extended
        started: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers, exc_info]
            return None  # the application never calls write() (PEP 3333)

        self._errors.of_thread.error = None
        body = self.app(environ, begin)
        status, headers, exc_info = started
        error = self._errors.of_thread.error
        problems = []
        if status.startswith("500") and error is not None:
            problems = problems_of(error, self._root)
            self._failures += 1
            self._last_problems = problems
        if isinstance(body, list) and _is_html(headers):
            page = b"".join(body)
            if _WHOLE_PAGE.search(page):
                body, headers = self._extended(problems, page, headers)
        if exc_info:
            start(status, headers, exc_info)
        else:
            start(status, headers)
        return body

    def _extended(
        self, problems: Sequence[Problem], page: bytes, headers: list[tuple[str, str]]
    ) -> tuple[list[bytes], list[tuple[str, str]]]:
        """Return the page with the problems of its own request and of the project at its end."""
        before, end, after = page.rpartition(b"</body>")
        overlay = self._tail(problems)
        if before:
            page = before + overlay + end + after
        else:
            page = after + overlay + end
        dropped = ("content-length", "etag", "cache-control", "last-modified")
        kept = [header for header in headers if header[0].lower() not in dropped]
        return [page], [*kept, ("Content-Length", str(len(page))), ("Cache-Control", "no-store")]

    def _tail(self, problems: Sequence[Problem]) -> bytes:
        """Return the overlay of a page.

        The script replaces only the inner element: an error of the page's own request stays.
        """
        state = self._state._replace(page=self._page_number)
        tail = (
            f'<link rel="stylesheet" href="{HERE}overlay.css">'
            f'<section id="forge-dev" role="status">{articles(problems)}'
            f'<div id="forge-dev-state">{articles(state.problems)}</div></section>'
            f'<script src="{HERE}reload.js" data-page="{_name(state)}"'
            f' data-styles="{state.styles}" data-failures="{self._failures}" defer></script>'
        )
        return tail.encode("ascii", "xmlcharrefreplace")  # valid in every encoding of a page

    def _report(self, start: StartResponse) -> list[bytes]:
        """Report the state to an open page.

        A script of the page may have sent a request that failed, and does not show the response. So
        a page shows the last failure if fewer requests had failed when it was rendered.
        """
        document = {
            "page": _name(self._state),
            "styles": str(self._state.styles),
            "html": articles(self._state.problems),
            "failures": str(self._failures),
            "failed": articles(self._last_problems),
        }
        return _respond(start, "200 OK", "application/json", json.dumps(document).encode())


class RequestErrors(logging.Handler):
    """Keeps the last logged exception of each thread: the error of its request."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.of_thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's exception."""
        if record.exc_info:
            self.of_thread.error = record.exc_info[1]


def explanation(environ: dict[str, Any], start: StartResponse) -> list[bytes]:
    """Serve an empty page while the project cannot start."""
    if preferred(Request(environ), ("text/plain", "text/html")) == "text/html":
        kind = "text/html; charset=utf-8"
        page = (
            b"<!doctype html><title>forge-min dev</title>"
            b"<body><p>This project cannot start. Correct the errors shown here.</p></body>"
        )
    else:
        kind = "text/plain"
        page = b"this project cannot start: see the errors in the terminal\n"
    return _respond(start, "503 Service Unavailable", kind, page)


def articles(problems: Sequence[Problem]) -> str:
    """Format each problem as HTML."""
    html = ""
    for problem in problems:
        css_class = "notice" if problem.notice else "error"
        html += (
            f'<article class="{css_class}">'
            f"<h2>{escape(problem.title)}</h2><pre>{escape(problem.text)}</pre></article>"
        )
    return html


def mailbox(folder: Path) -> str:
    """Return a page with the latest messages of a folder of .eml files, the newest first."""
    files = sorted(folder.glob("*.eml"), key=lambda path: path.stat().st_mtime, reverse=True)
    messages = "".join(map(_article, files[:MOST])) or "<p>No messages yet.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail</title>'
        '<link rel="stylesheet" href="/static/forge/forge.css">'
        f"<main><h1>Mail</h1><p>In development, messages are files in {escape(folder)}.</p>"
        f"{messages}</main></html>"
    )


def _article(file: Path) -> str:
    message = message_from_bytes(file.read_bytes(), policy=default)
    text = ""
    for name in ("To", "From", "Date"):
        text += f"{name}: {message[name]}\n"
    text += "\n"
    plain = message.get_body(["plain"])
    if plain:
        text += plain.get_content()
    linked = _URL.sub(r'<a href="\g<0>">\g<0></a>', escape(text))
    return f"<h2>{escape(message['Subject'])}</h2><pre>{linked}</pre>"


def _is_html(headers: Sequence[tuple[str, str]]) -> bool:
    for name, value in headers:
        if name.lower() == "content-type":
            return value.startswith("text/html")
    return False


def _name(state: State) -> str:
    return f"{state.page}-{state.assets}"


def _asset(name: str, start: StartResponse) -> list[bytes]:
    if name not in ("overlay.css", "reload.js"):
        return _respond(start, "404 Not Found", "text/plain", b"not found\n")
    return _respond(start, "200 OK", content_type(name), (_ASSETS / name).read_bytes())


def _respond(start: StartResponse, status: str, kind: str, body: bytes) -> list[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS])
    return [body]
