"""What stands around every page of ours: the layout, with the way to each resource that the reader
may read; and problems as pages, for browsers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote

from ..actions import Actions
from ..auth import as_identity, current_identity
from ..errors import DomainError, Unauthenticated
from ..i18n import current_language, text
from ..wsgi import (
    Handler,
    Raw,
    Request,
    Response,
    error_response,
    html_response,
    join,
    prefers_html,
    redirect,
    tag,
)
from .fields import words
from .templates import WORDS, index, layout, problem

Render = Callable[..., str]
"""A compiled page: keyword arguments → HTML."""

SCRIPTS = ("/static/forge/live.js", "/static/forge/forms.js")

Account = Callable[[Request], Raw]
"""What the head of a page says of the reader: a link to sign in, or their name and the way out."""


class Frame:
    """The frame of one application. project: its name. resources: the actions behind the pages, by
    path. own: a layout of the project's in place of ours. account: see Account.
    """

    def __init__(
        self, project: str, *, own: Render | None = None, stylesheets: Sequence[str] = (),
        account: Account | None = None,
    ) -> None:  # fmt: skip
        self.project = project
        self.resources: dict[str, Actions[Any, Any, Any]] = {}
        self._layout, self._sheets = own or layout.render, tuple(stylesheets)
        self.account: Account = account or (lambda _: Raw())

    def page(
        self, request: Request, template: Render, title: str, *, status: int = 200, live: str = "",
        events: str = "", **context: Any,
    ) -> Response:  # fmt: skip
        """A whole page.

        template: its content, rendered with the title, our words and `context`.
        live: the URL of the page's event stream.
        events: names of the events on which the page loads itself again.
        """
        body = template(title=title, words=WORDS, **context)
        root = request.root
        scripts = [tag("script", "", src=root + script, defer=True) for script in SCRIPTS]
        head = Item(
            project=self.project,
            language=current_language() or "en",
            root=root,
            stylesheets=[root + sheet for sheet in self._sheets],
            scripts=join(scripts),
            places=self.places(request),
            account=self.account(request),
        )
        document = self._layout(
            title=title, body=Raw(body), frame=head, live=live, events=events, words=WORDS
        )
        return html_response(document, status, [("Cache-Control", "no-store")])

    def places(self, request: Request) -> list[Item]:
        """The resources that the reader may read."""
        found = []
        for path, actions in self.resources.items():
            with suppress(DomainError):
                actions.allow("read")
                here = request.path == path or request.path.startswith(path + "/")
                found.append(
                    Item(label=words(actions.resource.topic), href=request.root + path, here=here)
                )
        return found

    def start(self, request: Request) -> Response:
        """GET /: the way to each resource."""
        places = self.places(request)
        return self.page(request, index.render, text("Start"), project=self.project, places=places)


_OF_THE_PAGE = ("Cache-Control", "Content-Type")


class ProblemPages:
    """Middleware around `Identify`: outside `prefix`, errors are rendered as HTML for clients that
    prefer it; anonymous users are redirected to the sign-in page. sign_in: its path, "" for none.
    """

    def __init__(self, frame: Frame, prefix: str, sign_in: str = "") -> None:
        self._frame, self._prefix, self._sign_in = frame, prefix + "/", sign_in

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer, or its problem as a page with the same status and headers."""
        try:
            response = handler(request)
        except Exception as err:
            response = error_response(request, err)
        if response.status < 400 or not isinstance(response.body, bytes):
            return response  # PERF: nearly all answers (benchmarks/http, hello)
        if response.header("Content-Type") != "application/problem+json":
            return response
        if request.path.startswith(self._prefix):
            return response
        varying = [*response.headers, ("Vary", "Accept")]
        if not prefers_html(request.header("Accept")):
            return Response(response.status, response.body, varying)
        said = json.loads(response.body)
        if said["code"] == Unauthenticated.default_code and self._sign_in:
            return redirect(f"{request.root}{self._sign_in}?next={quote(here(request), safe='')}")
        shown = {name: said[name] for name in ("detail", "code", "request_id")}
        with as_identity(request.identity or current_identity()):  # the navigation depends on it
            page = self._frame.page(
                request,
                problem.render,
                said["title"],
                status=response.status,
                home=f"{request.root}/",
                **shown,
            )
        page.headers += [pair for pair in varying if pair[0] not in _OF_THE_PAGE]
        return page


def here(request: Request) -> str:
    """Where to come back to: the address of a GET, else the start."""
    if request.method not in ("GET", "HEAD"):
        return f"{request.root}/"
    path, line = request.root + quote(request.path), request.environ.get("QUERY_STRING")
    return f"{path}?{line}" if line else path
