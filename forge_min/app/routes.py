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
EVENTS = "/events"
OUR_FILES = "/static/forge/{path...}"
FILES = "/static/{path...}"
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
    topic, and F152 for a permission for an unknown operation.
    """
    app = code.app
    config = code.config
    router = wsgi.Router()
    for route in [*routes, *_verbs(app, registry, routes)]:
        router.add(route.method, route.pattern, wsgi.json_only(route.handler), name=route.name)
    for route in _declared(app, registry, layout):
        router.add(route.method, route.pattern, route.handler, name=route.name)
    router.add("GET", EVENTS, events, name="events")
    if config.api.docs:
        _add_documentation(router, code, registry, sessions=account is not None)
    if app.manual_roles:
        layout.help_roles = app.manual_roles
        manual = ApplicationManual(code, registry, router.routes())
        router.add("GET", HELP, partial(_show_manual, manual, layout))
    our_files = wsgi.StaticFiles(files("forge_min.html") / "assets")
    project_files = wsgi.StaticFiles(code.root / "static")
    router.add("GET", OUR_FILES, our_files)
    if layout.brand.color:
        router.add("GET", BRAND_STYLESHEET, partial(_brand_css, layout.brand))
    router.add("GET", FILES, project_files)
    show_icon = partial(_icon, project_files, our_files, config.project.favicon)
    replaceable = [wsgi.Route("GET", "/favicon.ico", show_icon)]
    if account is not None:
        replaceable += account.routes()
    replaceable += _administration(code, registry, layout)
    paths = _page_paths(code, registry, routes)
    replaceable += _pages(code, registry, layout, account, paths)
    if config.server.ready_path:
        replaceable.append(wsgi.Route("GET", config.server.ready_path, probe))
    for route in replaceable:
        if not router.has(route.method, route.pattern):
            router.add(route.method, route.pattern, route.handler, name=route.name)
    return router


def _add_documentation(
    router: wsgi.Router, code: ProjectCode, registry: Registry, *, sessions: bool
) -> None:
    """Add the API's description and its page.

    sessions: whether the API accepts the session of a signed-in user.
    """
    config = code.config
    strategy = config.tenancy.strategy
    scoped = [t for t, actions in registry.actions.items() if actions.resource.tenant_scoped]
    document = build_document(
        code.openapi,
        router.routes(),
        title=config.project.name,
        version=config.project.version,
        prefix=config.api.prefix,
        sessions=sessions,
        limited=bool(config.api.rate_limit),
        tenant_header=config.tenancy.header if strategy == "header" else "",
        scoped=scoped,
    )
    contract, docs = document_handlers(document, tenant_in_path=strategy == "path")
    router.add("GET", "/api/openapi.json", contract, name="openapi")
    router.add("GET", "/api/docs", docs, name="docs")


def _page_paths(
    code: ProjectCode, registry: Registry, routes: Sequence[wsgi.Route]
) -> dict[str, str]:
    """Return topic → path of the page, for each resource that has pages."""
    lists = {route.name: route.pattern for route in routes}
    topics = code.app.resource_pages
    if topics is True:
        topics = registry.actions
    paths = {}
    for topic in registry.actions:
        if topics and topic in topics:
            paths[topic] = lists[f"{topic}.list"].removeprefix(code.config.api.prefix)
    return paths


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
    project = config.project
    return Brand(project.title or project.name, project.logo, project.color)


def _unserved(request: wsgi.Request) -> NoReturn:
    """Replace the handlers that need a running process: /events and server.ready_path."""
    raise NotImplementedError("these routes serve no request")


def _check_names(layout: Layout, home: html.Home) -> None:
    """Raise ConfigError for an unknown name in the navigation or on the start page."""
    items = [*layout.paths(), *layout.pages]
    for group in layout.groups.values():
        for name in group:
            if name not in items:
                names = ", ".join(items)
                raise ConfigError(f"app.navigation: no list or page {name!r}; there are {names}")
    panels = [*layout.paths(), *layout.declared_reports()]
    for name in [*(home.resources or ()), *(home.reports or ())]:
        if name not in panels:
            raise ConfigError(f"app.start_page: no resource or report {name!r}")


def _pages(
    code: ProjectCode,
    registry: Registry,
    layout: Layout,
    account: html.AccountPages | None,
    paths: Mapping[str, str],
) -> Iterator[wsgi.Route]:
    """Yield the routes of the pages of every resource. paths: topic → path."""
    app = code.app
    for topic, path in paths.items():
        actions = registry.actions[topic]
        layout.resources[path] = actions
        verbs = {}
        for verb_topic, name, function, has_button in app.verbs:
            if has_button and verb_topic == topic:
                verbs[name] = registry.fill(function, 2)
        pages = html.ResourcePages(actions, path, layout, paths, code.views, verbs)
        yield from pages.routes()
    _check_names(layout, app.home)
    if paths:
        home = partial(html.show_home, layout, app.home)
        if account is not None:
            home = partial(account.start, home)
        yield wsgi.Route("GET", "/", home)
    if layout.declared_reports():
        yield wsgi.Route("GET", html.REPORTS, partial(html.list_reports, layout))
        yield wsgi.Route("GET", html.REPORTS + "/{name}", partial(html.show_report, layout))


def _administration(code: ProjectCode, registry: Registry, layout: Layout) -> Iterator[wsgi.Route]:
    """Yield the routes of the pages of administrators."""
    app = code.app
    strategy = code.config.tenancy.strategy
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
    has_tenants = strategy != "none"
    yield from pages.routes(tenants=has_tenants)
    paths = [html.PEOPLE, html.KEYS]
    if has_tenants:
        paths.insert(1, html.TENANTS)
    layout.administration = (paths, app.administrators)


def _show_manual(manual: ApplicationManual, layout: Layout, request: wsgi.Request) -> wsgi.Response:
    """Return the application's own manual, if the current identity may read it."""
    if not layout.may_read_help():
        require_one_of(layout.help_roles)
    return layout.page(request, manual_page.render, **manual.content())


def _icon(
    project_files: wsgi.StaticFiles,
    our_files: wsgi.StaticFiles,
    favicon: str,
    request: wsgi.Request,
) -> wsgi.Response:
    """Return the icon of a browser's tab: the project's, else the built-in one.

    favicon: its path below static/; "" for a file favicon.*.
    """
    names = (favicon,) if favicon else _ICONS
    for name in names:
        request.params["path"] = name
        with suppress(NotFound):
            return project_files(request)
    request.params["path"] = "favicon.svg"
    return our_files(request)


def _brand_css(brand: Brand, request: wsgi.Request) -> wsgi.Response:
    """Return the stylesheet with the color of the project."""
    headers = [("Content-Type", "text/css"), ("Cache-Control", "max-age=300")]
    return wsgi.Response(200, brand.css().encode(), headers)


def _declared(app: App, registry: Registry, layout: Layout) -> list[wsgi.Route]:
    """Return the routes and pages of app.py, and add the pages to the navigation."""
    routes = []
    for method, path, function, name in app.routes:
        routes.append(wsgi.Route(method, path, registry.fill(function, 1), name))
    layout.groups = app.groups
    for page in app.pages:
        routes.append(wsgi.Route("GET", page.path, _page(registry, page, layout)))
    for form in app.forms:
        routes += html.FormPage(registry, layout, form).routes()
    for page in (*app.pages, *(form.page for form in app.forms)):
        if page.nav:
            layout.pages[page.path] = page
    return routes


def _page(registry: Registry, page: DeclaredPage, layout: Layout) -> wsgi.Handler:
    """Return the handler of a page: with a title its content gets the layout."""
    function = registry.fill(page.function, 1)
    headers = []
    if page.unsafe_eval:
        headers.append((_POLICY, _EVALUATING))

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
            topics = ", ".join(registry.actions)
            raise ConfigError(f"app.verb: unknown topic {topic!r}; the topics are {topics}")
        api = ResourceAPI(registry.actions[topic], paths[f"{topic}.list"])
        handler = api.verb(registry.fill(function, 2), function.__doc__, name)
        path = f"{paths[f'{topic}.get']}/{name}"
        yield wsgi.Route("POST", path, handler, f"{topic}.{name}")


def _check_permissions(registry: Registry, verbs: set[tuple[str, str]]) -> None:
    """Reject permissions for an operation that does not exist: they would protect nothing."""
    for topic, actions in registry.actions.items():
        resource = actions.resource
        transitions = {transition.name for transition in resource.transitions}
        for operation in resource.permissions:
            is_report = operation in resource.reports
            is_verb = operation in transitions or (topic, operation) in verbs
            if operation not in OPERATIONS and is_report == is_verb:
                raise ConfigError(
                    f"{topic} has a permission for {operation!r}, which must be a verb, "
                    "a transition or a report, and only one of them",
                    code="F152",
                    hint=f'declare @app.verb("{topic}", "{operation}"), or correct the schema',
                )
