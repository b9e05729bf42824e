"""The layout around every page, and errors as pages for browsers.

The layout has a navigation item for each resource that the user may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    hidden_inputs,
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
PEOPLE = "/-/people"
TENANTS = "/-/tenants"
KEYS = "/-/keys"
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
        strong = "#ffffff"
        if luminance(self.color) > _LIGHT:
            strong = "#10151c"
        return (
            f":root {{ --accent: {self.color}; --on-strong: {strong}; }}\n"
            "@media (prefers-color-scheme: dark) { :root {\n"
            f"  --accent: color-mix(in srgb, {self.color} 45%, white); --on-strong: #10151c;\n"
            "} }\n"
        )


def luminance(color: str) -> float:
    """Return the relative luminance of "#rrggbb", from 0 (black) to 1 (WCAG 2.2)."""
    result = 0.0
    for start, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        channel = int(color[start : start + 2], 16) / 255
        if channel <= 0.04045:
            channel /= 12.92
        else:
            channel = ((channel + 0.055) / 1.055) ** 2.4
        result += weight * channel
    return result


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
        self.brand = brand
        self.project = brand.name
        self.groups: Mapping[str, Sequence[str]] = {}
        self.pages: dict[str, DeclaredPage] = {}
        self.resources: dict[str, AnyActions] = {}
        self._layout = own or layout.render
        self._sheets = [*stylesheets]
        if brand.color:
            self._sheets.insert(0, BRAND_STYLESHEET)
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
        root = request.root
        language = current_language() or "en"
        frame = Item(project=self.project, root=root, language=language)  # docs/develop/pages.md
        frame.direction = "ltr"
        if language.partition("-")[0] in _RIGHT_TO_LEFT:
            frame.direction = "rtl"
        frame.logo = ""
        if self.brand.logo:
            frame.logo = f"{root}/static/{self.brand.logo}"
        frame.stylesheets = [root + sheet for sheet in self._sheets]
        scripts = [tag("script", "", src=root + script, defer=True) for script in SCRIPTS]
        frame.scripts = join(scripts)
        frame.groups = self.nav_groups(request)
        frame.flash = flashed(request)
        frame.account = self.account(request)
        stream = {name: context.get(name, "") for name in ("live", "events", "trail")}
        document = self._layout(title=title, body=Raw(body), frame=frame, words=WORDS, **stream)
        response = html_response(document, status, [("Cache-Control", "no-store")])
        if frame.flash:
            response = without_flash(response)
        return response

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
        status = 200
        if error:
            status = status_of(error)
        response = self.page(request, template, title, status, **context)
        if isinstance(error, TooManyAttempts):
            response.headers.append(("Retry-After", str(error.retry_after)))
        return response

    def nav_groups(self, request: Request) -> list[Item]:
        """Return the navigation in groups: links to lists and pages that the user may read.

        Lists and pages that no group names follow, then reports and the manual.
        """
        links = self._links(request)
        groups = []
        grouped = set[str]()
        for label, names in self.groups.items():
            places = [links[name] for name in names if name in links]
            groups.append(Item(label=text(label), places=places))
            grouped.update(names)
        others = [link for name, link in links.items() if name not in grouped]
        labels = {}
        if self.reports():
            labels[REPORTS] = text("Reports")
        if self.may_read_help():
            labels[HELP] = text("Help")
        others += _hyperlinks(request, labels)
        groups.append(Item(label="", places=others))
        places = self._administration_places(request)
        groups.append(Item(label=text("Administration"), places=places))
        return [group for group in groups if group.places]

    def _links(self, request: Request) -> dict[str, Hyperlink]:
        """Return the links to lists, by topic, and to pages, by path, that the user may read."""
        links = {}
        for path, actions in self.resources.items():
            if actions.may("read"):
                topic = actions.resource.topic
                here = f"{request.path}/".startswith(f"{path}/")
                links[topic] = Hyperlink(label_of(topic), request.root + path, here)
        for path, page in self.pages.items():
            if not page.roles or current_identity().has_one_of(page.roles):
                here = request.path == path
                links[path] = Hyperlink(text(page.title), request.root + path, here)
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
        declared = {}
        for actions in self.resources.values():
            for name in actions.resource.reports:
                declared[name] = actions
        return declared

    def reports(self) -> dict[str, AnyActions]:
        """Return those of the reports that the user may read."""
        return {
            name: actions
            for name, actions in self.declared_reports().items()
            if actions.may(actions.report_operation(name))
        }

    def may_read_help(self) -> bool:
        """Return whether the current identity may read the manual of the application."""
        return ANYBODY in self.help_roles or current_identity().has_one_of(self.help_roles)

    def paths(self) -> dict[str, str]:
        """Return the paths of the lists by topic."""
        return {actions.resource.topic: path for path, actions in self.resources.items()}


def _hyperlinks(request: Request, labels: Mapping[str, str]) -> list[Hyperlink]:
    """Return links. labels: by path."""
    links = []
    for path, label in labels.items():
        here = request.path.startswith(path)
        links.append(Hyperlink(label, request.root + path, here))
    return links


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
    messages = [field_error.message for field_error in getattr(error, "errors", ())]
    return "; ".join(messages) or text(error.message)


def hidden_fields(request: Request, values: Mapping[str, Iterable[object]]) -> Raw:
    """Return the hidden inputs of a form: its token, and values by name."""
    return join([csrf_field(request), hidden_inputs(values)])


class ProblemPages:
    """Renders errors as HTML for clients that prefer it: the `problem_page` of an Application.

    Requests below `prefix` (the API) keep their problem documents.

    sign_in: asks an anonymous user to sign in, when an error asks for authentication.
    """

    def __init__(
        self, layout: Layout, prefix: str, sign_in: Callable[[Request], Response] | None = None
    ) -> None:
        self._layout = layout
        self._prefix = f"{prefix}/"
        self._sign_in = sign_in

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
        advice = _ADVICE.get(response.status, "")
        if response.status >= 500:
            advice = _LATER
        context["advice"] = text(advice)
        context["home"] = f"{request.root}/"
        title = document["title"]
        with as_identity(request.identity or current_identity()):  # the navigation depends on it
            page = self._layout.page(request, problem.render, title, response.status, **context)
        page.headers += [header for header in headers if header[0] not in _PAGE_HEADERS]
        return page
