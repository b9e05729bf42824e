"""The layout around every page, and errors as pages for browsers.

The layout has a navigation item for each resource that the user may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace as Item
from typing import Any, NamedTuple

from ..actions import ANYBODY
from ..auth import SESSION, as_identity, current_identity
from ..errors import DomainError, TooManyAttempts, Unauthenticated
from ..i18n import current_language, gettext_noop, text
from ..wsgi import (
    Raw,
    Request,
    Response,
    csrf_field,
    flashed,
    html_response,
    join,
    preferred,
    status_of,
    tag,
    with_csrf_cookie,
    without_flash,
)
from .fields import AnyActions, label_of
from .templates import WORDS, layout, problem

Render = Callable[..., str]
"""A compiled page: keyword arguments → HTML."""

BRAND_STYLESHEET = "/static/brand.css"
_LIGHT = 0.179  # relative luminance above which black has more contrast than white (WCAG 2.2)
_KINDS = ("application/problem+json", "application/json", "text/html")  # of a problem
HELP = "/-/help"
REPORTS = "/-/reports"
PEOPLE, TENANTS, KEYS = "/-/people", "/-/tenants", "/-/keys"
SCRIPTS = ("/static/forge/live.js", "/static/forge/forms.js", "/static/forge/idle.js")

_RIGHT_TO_LEFT = ("ar", "dv", "fa", "he", "ks", "ku", "ps", "sd", "ug", "ur", "yi")

Account = Callable[[Request], Raw]
"""Renders the account part of the layout: a sign-in link, or the user's name and sign-out."""


class Hyperlink(NamedTuple):
    """A link to a list. here: whether the current page is that list or below it."""

    label: str
    href: str
    here: bool = False


class Brand(NamedTuple):
    """How an application presents itself.

    name: on every page.
    logo: path below static/, "" for none.
    color: "#rrggbb", "" for that of forge.css.
    """

    name: str
    logo: str = ""
    color: str = ""

    def css(self) -> str:
        """Return a stylesheet with the color, lighter on a dark page."""
        strong = "#10151c" if luminance(self.color) > _LIGHT else "#ffffff"
        return (
            f":root {{ --accent: {self.color}; --on-strong: {strong}; }}\n"
            "@media (prefers-color-scheme: dark) { :root {\n"
            f"  --accent: color-mix(in srgb, {self.color} 45%, white); --on-strong: #10151c;\n"
            "} }\n"
        )


def luminance(color: str) -> float:
    """Return the relative luminance of "#rrggbb", from 0 (black) to 1 (WCAG 2.2)."""
    channels = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


class Home(NamedTuple):
    """The arrangement of the start page; see `app.App.start_page`."""

    resources: Sequence[str] | None = None
    reports: Sequence[str] | None = None
    changes: bool = True


class DeclaredPage(NamedTuple):
    """A page of app.py; see `app.App.page`."""

    path: str
    function: Callable[..., str]
    title: str
    nav: bool
    roles: Sequence[str]
    unsafe_eval: bool


class DeclaredForm(NamedTuple):
    """A form of app.py; see `app.App.form`."""

    page: DeclaredPage
    topic: str
    fields: Sequence[str]
    initial: Callable[..., Mapping[str, Any]] | None
    template: Render | None


class Layout:
    """Renders the pages of one application.

    brand: its name, logo and color.
    own: the project's own layout template, default the built-in one.
    stylesheets: paths below the root.
    account: see Account; nothing until the application sets it.
    resources: path → actions of the resources that have pages; filled by the application.
    groups: the order of the navigation: title of a group → topics and paths of pages.
    pages: the pages of app.py in the navigation, by path.
    help_roles: the roles that may read the application's manual; set by the application.
    administration: paths of the pages of administrators, and their roles; set by the application.
    """

    def __init__(
        self, brand: Brand, *, own: Render | None = None, stylesheets: Sequence[str] = ()
    ) -> None:
        self.brand, self.project = brand, brand.name
        self.groups: Mapping[str, Sequence[str]] = {}
        self.pages: dict[str, DeclaredPage] = {}
        self.resources: dict[str, AnyActions] = {}
        colors = (BRAND_STYLESHEET,) if brand.color else ()
        self._layout, self._sheets = own or layout.render, (*colors, *stylesheets)
        self.help_roles: Sequence[str] = ()
        self.administration: tuple[Sequence[str], Sequence[str]] = ((), ())
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
        root, language = request.root, current_language() or "en"
        frame = Item(  # docs/develop/pages.md
            project=self.project,
            logo=f"{root}/static/{self.brand.logo}" if self.brand.logo else "",
            language=language,
            direction="rtl" if language.partition("-")[0] in _RIGHT_TO_LEFT else "ltr",
            root=root,
            stylesheets=[root + sheet for sheet in self._sheets],
            scripts=join(tag("script", "", src=root + script, defer=True) for script in SCRIPTS),
            groups=self.nav_groups(request),
            flash=flashed(request),
            account=self.account(request),
        )
        stream = {name: context.get(name, "") for name in ("live", "events", "trail")}
        document = self._layout(title=title, body=Raw(body), frame=frame, words=WORDS, **stream)
        response = html_response(document, status, [("Cache-Control", "no-store")])
        return without_flash(response) if frame.flash else response

    def form_page(
        self,
        request: Request,
        template: Render,
        title: str,
        error: DomainError | None = None,
        **context: Any,
    ) -> Response:
        """Return a page with forms: their token, and the error of the one that was sent."""
        context = {"token": csrf_field(request), "problem": messages_of(error), **context}
        status = status_of(error) if error else 200
        response = self.page(request, template, title, status, **context)
        if isinstance(error, TooManyAttempts):
            response.headers.append(("Retry-After", str(error.retry_after)))
        return response

    def nav_groups(self, request: Request) -> list[Item]:
        """Return the navigation in groups: links to lists and pages that the user may read.

        Lists and pages that no group names follow, then reports and the manual.
        """
        links = self._links(request)
        grouped = {name for group in self.groups.values() for name in group}
        groups = [
            (text(label), [links[name] for name in names if name in links])
            for label, names in self.groups.items()
        ]
        more = {REPORTS: text("Reports")} if self.reports() else {}
        if self.may_read_help():
            more[HELP] = text("Help")
        others = [link for name, link in links.items() if name not in grouped]
        groups.append(("", others + _hyperlinks(request, more)))
        groups.append((text("Administration"), self._administration_places(request)))
        return [Item(label=label, places=places) for label, places in groups if places]

    def _links(self, request: Request) -> dict[str, Hyperlink]:
        """Return the links to lists, by topic, and to pages, by path, that the user may read."""
        links = {}
        for path, actions in self.resources.items():
            if actions.may("read"):
                topic, here = actions.resource.topic, f"{request.path}/".startswith(f"{path}/")
                links[topic] = Hyperlink(label_of(topic), request.root + path, here)
        for path, page in self.pages.items():
            if not page.roles or current_identity().has_one_of(page.roles):
                links[path] = Hyperlink(text(page.title), request.root + path, request.path == path)
        return links

    def _administration_places(self, request: Request) -> list[Hyperlink]:
        """Return the links to the pages of administrators, if the user is one."""
        paths, roles = self.administration
        identity = current_identity()
        if identity.via != SESSION or not identity.has_one_of(roles):
            return []
        labels = {PEOPLE: text("People"), TENANTS: text("Tenants"), KEYS: text("API keys")}
        return _hyperlinks(request, {path: labels[path] for path in paths})

    def declared_reports(self) -> dict[str, AnyActions]:
        """Return the actions of the resource of each report, by its name."""
        return {n: actions for actions in self.resources.values() for n in actions.resource.reports}

    def reports(self) -> dict[str, AnyActions]:
        """Return those of the reports that the user may read."""
        declared = self.declared_reports().items()
        return {n: actions for n, actions in declared if actions.may(actions.report_operation(n))}

    def may_read_help(self) -> bool:
        """Return whether the current identity may read the manual of the application."""
        return ANYBODY in self.help_roles or current_identity().has_one_of(self.help_roles)

    def paths(self) -> dict[str, str]:
        """Return the paths of the lists by topic."""
        return {actions.resource.topic: path for path, actions in self.resources.items()}


def _hyperlinks(request: Request, labels: Mapping[str, str]) -> list[Hyperlink]:
    """Return links. labels: by path."""
    root, here = request.root, request.path
    return [Hyperlink(label, root + path, here.startswith(path)) for path, label in labels.items()]


_ADVICE = {
    403: gettext_noop("If you need this, ask an administrator for access."),
    404: gettext_noop("It may have been moved or deleted. Check the address, or search in a list."),
    409: gettext_noop("Go back, reload the page and try again."),
    429: gettext_noop("Wait a moment, then try again."),
}
_LATER = gettext_noop("Try again in a moment. If it happens again, report it with this number.")
_PAGE_HEADERS = ("Cache-Control", "Content-Type")


def messages_of(error: DomainError | None) -> str:
    """Return the messages of an error in one line, "" without one."""
    if error is None:
        return ""
    return "; ".join(e.message for e in getattr(error, "errors", ())) or text(error.message)


class ProblemPages:
    """Renders errors as HTML for clients that prefer it: the `problem_page` of an Application.

    Requests below `prefix` (the API) keep their problem documents.

    sign_in: asks an anonymous user to sign in, when an error asks for authentication.
    """

    def __init__(
        self, layout: Layout, prefix: str, sign_in: Callable[[Request], Response] | None = None
    ) -> None:
        self._layout, self._prefix, self._sign_in = layout, prefix + "/", sign_in

    def __call__(self, request: Request, response: Response) -> Response:
        """Return the response, or its problem as a page of the same status."""
        kind = response.header("Content-Type")
        if kind != "application/problem+json" or not isinstance(response.body, bytes):
            return response
        if request.path.startswith(self._prefix):
            return response
        headers = [*response.headers, ("Vary", "Accept")]
        if preferred(request, _KINDS) != "text/html":
            return Response(response.status, response.body, headers)
        document = json.loads(response.body)
        if document["code"] == Unauthenticated.default_code and self._sign_in:
            return with_csrf_cookie(request, self._sign_in(request))
        context = {name: document[name] for name in ("detail", "code", "request_id")}
        later = _LATER if response.status >= 500 else ""
        context["advice"] = text(_ADVICE.get(response.status, later))
        with as_identity(request.identity or current_identity()):  # the navigation depends on it
            context |= {"title": document["title"], "home": f"{request.root}/"}
            page = self._layout.page(request, problem.render, status=response.status, **context)
        page.headers += [header for header in headers if header[0] not in _PAGE_HEADERS]
        return page
