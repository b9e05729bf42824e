"""The layout around every page, and errors as pages for browsers.

The layout has a navigation item for each resource that the user may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from urllib.parse import quote

from ..actions import ANYBODY
from ..auth import as_identity, current_identity
from ..errors import Unauthenticated
from ..i18n import current_language, text
from ..wsgi import Raw, Request, Response, html_response, join, prefers_html, redirect, tag
from .fields import AnyActions, label_of
from .templates import WORDS, index, layout, problem

Render = Callable[..., str]
"""A compiled page: keyword arguments → HTML."""

HELP = "/-/help"
REPORTS = "/-/reports"
SCRIPTS = ("/static/forge/live.js", "/static/forge/forms.js")

Account = Callable[[Request], Raw]
"""Renders the account part of the layout: a sign-in link, or the user's name and sign-out."""


class Hyperlink(NamedTuple):
    """A link to a list. here: whether the current page is that list or below it."""

    label: str
    href: str
    here: bool = False


class Layout:
    """Renders the pages of one application.

    project: its name.
    own: the project's own layout template, default the built-in one.
    stylesheets: paths below the root.
    account: see Account; nothing until the application sets it.
    resources: path → actions of the resources that have pages; filled by the application.
    help_roles: the roles that may read the application's manual; set by the application.
    """

    def __init__(
        self, project: str, *, own: Render | None = None, stylesheets: Sequence[str] = ()
    ) -> None:
        self.project = project
        self.resources: dict[str, AnyActions] = {}
        self._layout, self._sheets = own or layout.render, tuple(stylesheets)
        self.help_roles: Sequence[str] = ()
        self.account: Account = lambda _: Raw()

    def page(
        self, request: Request, template: Render, title: str, status: int = 200, **context: Any
    ) -> Response:
        """Return a whole page.

        template: its content, rendered with the title, our words and `context`.
        context: may have `live`, the URL of the page's event stream, and `events`, the names of the
            events after which the page reloads.
        """
        body = template(title=title, words=WORDS, **context)
        root = request.root
        frame = Item(  # docs/develop/pages.md
            project=self.project,
            language=current_language() or "en",
            root=root,
            stylesheets=[root + sheet for sheet in self._sheets],
            scripts=join(tag("script", "", src=root + script, defer=True) for script in SCRIPTS),
            places=self.nav_items(request),
            account=self.account(request),
        )
        stream = {name: context.get(name, "") for name in ("live", "events")}
        document = self._layout(title=title, body=Raw(body), frame=frame, words=WORDS, **stream)
        return html_response(document, status, [("Cache-Control", "no-store")])

    def nav_items(self, request: Request) -> list[Hyperlink]:
        """Return a link to each resource that the user may read, to reports and the manual."""
        items = []
        for path, actions in self.resources.items():
            if actions.may("read"):
                here = request.path == path or request.path.startswith(path + "/")
                items.append(Hyperlink(label_of(actions.resource.topic), request.root + path, here))
        if self.reports():
            here = request.path.startswith(REPORTS)
            items.append(Hyperlink(text("Reports"), request.root + REPORTS, here))
        if self.may_read_help():
            items.append(Hyperlink(text("Help"), request.root + HELP, request.path == HELP))
        return items

    def reports(self) -> list[str]:
        """Return the names of the reports that the user may read."""
        declared = [(n, a) for a in self.resources.values() for n in a.resource.reports]
        return [name for name, a in declared if a.may(a.report_operation(name))]

    def may_read_help(self) -> bool:
        """Return whether the current identity may read the manual of the application."""
        return ANYBODY in self.help_roles or current_identity().has_one_of(self.help_roles)

    def start(self, request: Request) -> Response:
        """Handle GET /: links to all resources."""
        items = self.nav_items(request)
        return self.page(request, index.render, text("Start"), project=self.project, items=items)


_PAGE_HEADERS = ("Cache-Control", "Content-Type")


class ProblemPages:
    """Renders errors as HTML for clients that prefer it: the `problem_page` of an Application.

    Requests below `prefix` (the API) keep their problem documents. Anonymous users are redirected
    to the sign-in page when an error asks for authentication.

    sign_in: path of the sign-in page, "" if the application has none.
    """

    def __init__(self, layout: Layout, prefix: str, sign_in: str = "") -> None:
        self._layout, self._prefix, self._sign_in = layout, prefix + "/", sign_in

    def __call__(self, request: Request, response: Response) -> Response:
        """Return the response, or its problem as a page of the same status."""
        kind = response.header("Content-Type")
        if kind != "application/problem+json" or not isinstance(response.body, bytes):
            return response
        if request.path.startswith(self._prefix):
            return response
        headers = [*response.headers, ("Vary", "Accept")]
        if not prefers_html(request.header("Accept")):
            return Response(response.status, response.body, headers)
        document = json.loads(response.body)
        if document["code"] == Unauthenticated.default_code and self._sign_in:
            url = quote(return_url(request), safe="")
            return redirect(f"{request.root}{self._sign_in}?next={url}")
        context = {name: document[name] for name in ("detail", "code", "request_id")}
        with as_identity(request.identity or current_identity()):  # the navigation depends on it
            context |= {"title": document["title"], "home": f"{request.root}/"}
            page = self._layout.page(request, problem.render, status=response.status, **context)
        page.headers += [header for header in headers if header[0] not in _PAGE_HEADERS]
        return page


def return_url(request: Request) -> str:
    """Return the URL to open after signing in: that of a GET request, else the start page."""
    if request.method not in ("GET", "HEAD"):
        return f"{request.root}/"
    path, query = request.root + quote(request.path), request.environ.get("QUERY_STRING")
    return f"{path}?{query}" if query else path
