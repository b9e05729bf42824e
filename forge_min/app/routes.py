"""Every route of an application on one router: generated, declared and built-in ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

from .. import html, wsgi
from ..actions import Registry
from ..api import ResourceAPI, build_document, document_handlers
from ..auth import administration, require_one_of
from ..config import Config
from ..errors import ConfigError, NotFound
from ..html import BRAND_STYLESHEET, HELP, Brand, DeclaredPage, Layout, manual_page
from ..i18n import text
from ..resources import files
from .authentication import Authentication
from .declaration import App, ProjectCode
from .manual import ApplicationManual

_POLICY = "Content-Security-Policy"
_EVALUATING = dict(wsgi.SECURITY_HEADERS)[_POLICY] + "; script-src 'self' 'unsafe-eval'"
_ICONS = ("favicon.ico", "favicon.svg", "favicon.png")  # in this order
EVENTS, OUR_FILES, FILES = "/events", "/static/forge/{path...}", "/static/{path...}"
UNCOUNTED = (EVENTS, OUR_FILES, FILES)
"""Routes that server.max_per_client does not count: streams have their own cap, files need no
database.
"""
OPERATIONS = ("read", "create", "update", "delete", "restore", "audit")


def build_router(
    code: ProjectCode,
    registry: Registry,
    routes: Sequence[wsgi.Route],
    events: wsgi.Handler,
    probe: wsgi.Handler,
    layout: Layout,
    account: html.AccountPages | None,
) -> wsgi.Router:
    """Return the router.

    routes: the generated ones.
    events: the handler of /events.
    probe: the handler of server.ready_path, unless the project has a route there.

    Raises ServerError F505 for a route that is declared twice, ConfigError for a verb of an unknown
    topic, and F704 for a permission for an unknown operation.
    """
    app, config = code.app, code.config
    router = wsgi.Router()
    for route in [*routes, *_verbs(app, registry, routes)]:
        router.add(route.method, route.pattern, wsgi.json_only(route.handler), name=route.name)
    for route in _declared(app, registry, layout):
        router.add(route.method, route.pattern, route.handler, name=route.name)
    router.add("GET", EVENTS, events, name="events")
    if config.api.docs:
        tenancy = config.tenancy
        described = build_document(
            code.openapi,
            router.routes(),
            title=config.project.name,
            version=config.project.version,
            prefix=config.api.prefix,
            sessions=account is not None,
            limited=bool(config.api.rate_limit),
            tenant_header=tenancy.header if tenancy.strategy == "header" else "",
            scoped=[t for t, a in registry.actions.items() if a.resource.tenant_scoped],
        )
        contract, docs = document_handlers(described, tenant_in_path=tenancy.strategy == "path")
        router.add("GET", "/api/openapi.json", contract, name="openapi")
        router.add("GET", "/api/docs", docs, name="docs")
    if app.manual_roles:
        layout.help_roles = app.manual_roles
        manual = ApplicationManual(code, registry, router.routes())
        router.add("GET", HELP, partial(_show_manual, manual, layout))
    ours = wsgi.StaticFiles(files("forge_min.html") / "assets")
    own = wsgi.StaticFiles(code.root / "static")
    router.add("GET", OUR_FILES, ours)
    if layout.brand.color:
        router.add("GET", BRAND_STYLESHEET, partial(_brand_css, layout.brand))
    router.add("GET", FILES, own)
    lists = {route.name: route.pattern.removeprefix(config.api.prefix) for route in routes}
    chosen = registry.actions if app.resource_pages is True else app.resource_pages or ()
    paths = {topic: lists[f"{topic}.list"] for topic in registry.actions if topic in chosen}
    replaceable = [
        wsgi.Route("GET", "/favicon.ico", partial(_icon, own, ours, config.project.favicon)),
        *(account.routes() if account is not None else ()),
        *_administration(code, registry, layout),
        *_pages(code, registry, layout, account, paths),
    ]
    if config.server.ready_path:
        replaceable.append(wsgi.Route("GET", config.server.ready_path, probe))
    for route in replaceable:
        if not router.has(route.method, route.pattern):
            router.add(route.method, route.pattern, route.handler, name=route.name)
    return router


def declared_router(code: ProjectCode) -> tuple[Registry, wsgi.Router]:
    """Return the registry and the routes of the code, without a database.

    Raises as `build_router`.
    """
    registry, routes = code.declared_registry()
    layout = Layout(brand_of(code.config))
    account = Authentication(code, registry, layout).account
    return registry, build_router(code, registry, routes, _unserved, _unserved, layout, account)


def brand_of(config: Config) -> Brand:
    """Return the name, logo and color of the project."""
    p = config.project
    return Brand(p.title or p.name, p.logo, p.color)


def _unserved(request: wsgi.Request) -> NoReturn:
    """Replace the handlers that need a running process: /events and server.ready_path."""
    raise NotImplementedError("these routes serve no request")


def _check_names(layout: Layout, home: html.Home) -> None:
    """Raise ConfigError for an unknown name in the navigation or on the start page."""
    known = [*layout.paths(), *layout.pages]
    for name in [name for group in layout.groups.values() for name in group]:
        if name not in known:
            names = ", ".join(known)
            raise ConfigError(f"app.navigation: no list or page {name!r}; there are {names}")
    for name in [*(home.resources or ()), *(home.reports or ())]:
        if name not in (*layout.paths(), *layout.declared_reports()):
            raise ConfigError(f"app.start_page: no resource or report {name!r}")


def _pages(
    code: ProjectCode,
    registry: Registry,
    layout: Layout,
    account: html.AccountPages | None,
    paths: Mapping[str, str],
) -> Iterator[wsgi.Route]:
    """Yield the routes of the pages of every resource. paths: topic → path."""
    app, views = code.app, code.views
    for topic, path in paths.items():
        actions = layout.resources[path] = registry.actions[topic]
        verbs = {
            n: registry.fill(f, 2) for t, n, f, has_button in app.verbs if has_button and t == topic
        }
        yield from html.ResourcePages(actions, path, layout, paths, views, verbs).routes()
    _check_names(layout, app.home)
    if paths:
        home = partial(html.show_home, layout, app.home)
        yield wsgi.Route("GET", "/", partial(account.start, home) if account else home)
    if layout.declared_reports():
        yield wsgi.Route("GET", html.REPORTS, partial(html.list_reports, layout))
        yield wsgi.Route("GET", html.REPORTS + "/{name}", partial(html.show_report, layout))


def _administration(code: ProjectCode, registry: Registry, layout: Layout) -> Iterator[wsgi.Route]:
    """Yield the routes of the pages of administrators."""
    app, strategy = code.app, code.config.tenancy.strategy
    if not app.administrators:
        return
    if not app.signs_in:
        raise ConfigError("app.administration needs app.sign_in")

    links = registry.dependencies["forge_account_links"]

    def administrator(request: wsgi.Request) -> administration.Administrator:
        send = partial(links.request, request.root) if links.is_configured else None
        conn = registry.database.connection()
        return administration.Administrator(conn, app.administrators, send)

    root = wsgi.root_of_tenant if strategy == "path" else None
    pages = html.AdministrationPages(layout, administrator, code.roles(registry), root)
    yield from pages.routes(tenants=strategy != "none")
    tenants = [] if strategy == "none" else [html.TENANTS]
    layout.administration = [html.PEOPLE, *tenants, html.KEYS], app.administrators


def _show_manual(manual: ApplicationManual, layout: Layout, request: wsgi.Request) -> wsgi.Response:
    """Return the application's own manual, if the current identity may read it."""
    if not layout.may_read_help():
        require_one_of(layout.help_roles)
    return layout.page(request, manual_page.render, **manual.content())


def _icon(
    own: wsgi.StaticFiles, ours: wsgi.StaticFiles, chosen: str, request: wsgi.Request
) -> wsgi.Response:
    """Return the icon of a browser's tab: the project's, else the built-in one.

    chosen: its path below static/; "" for a file favicon.*.
    """
    for name in (chosen,) if chosen else _ICONS:
        request.params["path"] = name
        with suppress(NotFound):
            return own(request)
    request.params["path"] = "favicon.svg"
    return ours(request)


def _brand_css(brand: Brand, request: wsgi.Request) -> wsgi.Response:
    """Return the stylesheet with the color of the project."""
    headers = [("Content-Type", "text/css"), ("Cache-Control", "max-age=300")]
    return wsgi.Response(200, brand.css().encode(), headers)


def _declared(app: App, registry: Registry, layout: Layout) -> list[wsgi.Route]:
    """Return the routes and pages of app.py, and add the pages to the navigation."""
    own = [wsgi.Route(m, path, registry.fill(f, 1), name) for m, path, f, name in app.routes]
    layout.groups = app.groups
    for page in app.pages:
        own.append(wsgi.Route("GET", page.path, _page(registry, page, layout)))
    for form in app.forms:
        own += html.FormPage(registry, layout, form).routes()
    for page in (*app.pages, *(form.page for form in app.forms)):
        if page.nav:
            layout.pages[page.path] = page
    return own


def _page(registry: Registry, page: DeclaredPage, layout: Layout) -> wsgi.Handler:
    """Return the handler of a page: with a title its content gets the layout."""
    function = registry.fill(page.function, 1)
    headers = [(_POLICY, _EVALUATING)] if page.unsafe_eval else []

    def handler(request: wsgi.Request) -> wsgi.Response:
        if page.roles:
            require_one_of(page.roles)
        content = function(request)
        if not page.title:
            return wsgi.html_response(content, headers=headers)
        response = layout.page(request, lambda **_: content, text(page.title))
        response.headers += headers
        return response

    handler.__doc__ = page.function.__doc__
    return handler


def _verbs(app: App, registry: Registry, routes: Sequence[wsgi.Route]) -> Iterator[wsgi.Route]:
    paths = {route.name: route.pattern for route in routes}
    _check_permissions(registry, {(topic, name) for topic, name, _, _ in app.verbs})
    for topic, name, function, _ in app.verbs:
        if topic not in registry.actions:
            known = ", ".join(registry.actions)
            raise ConfigError(f"app.verb: unknown topic {topic!r}; the topics are {known}")
        api = ResourceAPI(registry.actions[topic], paths[f"{topic}.list"])
        handler = api.verb(registry.fill(function, 2), function.__doc__, name)
        path = f"{paths[f'{topic}.get']}/{name}"
        yield wsgi.Route("POST", path, handler, f"{topic}.{name}")


def _check_permissions(registry: Registry, verbs: set[tuple[str, str]]) -> None:
    """Reject permissions for an operation that does not exist: they would protect nothing."""
    for topic, actions in registry.actions.items():
        transitions = {transition.name for transition in actions.resource.transitions}
        for operation in actions.resource.permissions:
            is_report = operation in actions.resource.reports
            is_verb = operation in transitions or (topic, operation) in verbs
            if operation not in OPERATIONS and is_report == is_verb:
                what = "a verb, a transition or a report, and only one of them"
                raise ConfigError(
                    f"{topic} has a permission for {operation!r}, which must be {what}",
                    code="F704",
                    hint=f'declare @app.verb("{topic}", "{operation}"), or correct the schema',
                )
