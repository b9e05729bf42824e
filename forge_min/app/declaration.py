"""`App`: the declarations that a project adds to its generated code. Nothing runs yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from .. import db, html, jobs
from .._compat import renamed
from ..actions import ANYBODY, Registry
from ..auth import Renew
from ..config import Config
from ..html import AccountLinks, DeclaredForm, DeclaredPage, Home, SendAccountLinks
from ..mail import OUTBOX, FileTransport, Mailer, SendMail, SMTPTransport
from ..wsgi import Method, Middleware, Route

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


class App:
    """The declarations of one project; app.py holds them as `app`.

    A function's parameters after the documented ones are filled in by name: dependencies given to
    `provide`, and the actions of every resource, named by its topic.

    resource_pages: whether each resource has its pages, such as /flights, or the topics of the
    resources that have; default: True.
    """

    def __init__(self, *, resource_pages: bool | Collection[str] = True) -> None:
        self.resource_pages = resource_pages
        self.routes: list[tuple[str, str, Function, str]] = []
        self.pages: list[DeclaredPage] = []
        self.forms: list[DeclaredForm] = []
        self.groups: Mapping[str, Sequence[str]] = {}
        self.home = Home()
        self.verbs: list[tuple[str, str, Function, bool]] = []
        self.fragments: dict[str, Function] = {}
        self.middlewares: list[Middleware] = []
        self.methods: list[Method] = []
        self.signs_in = False
        self.administrators: tuple[str, ...] = ()
        self.manual_roles: tuple[str, ...] = ()
        self.reset_sender: Function | None = None
        self.schedules: list[jobs.Periodic] = []
        self.renew: Renew = lambda identity: identity
        self.dependencies: dict[str, object] = {}
        self.start_hooks: list[Function] = []
        self.stop_hooks: list[Function] = []

    if not TYPE_CHECKING:  # a typed __getattr__ would hide misspelled names

        def __getattr__(self, name: str) -> Any:
            return getattr(self, renamed("forge_min.app.App", name))

    def route(self, method: str, path: str, *, name: str = "") -> Callable[[F], F]:
        """Declare a route: the function takes (request, ...) and returns a Response.

        method, path: such as "GET" and "/hello/{name}".
        name: the route's name, default: "".
        """
        return _decorator(lambda f: self.routes.append((method, path, f, name)))

    def page(
        self,
        path: str,
        *,
        title: str = "",
        nav: bool = False,
        roles: Sequence[str] = (),
        unsafe_eval: bool = False,
    ) -> Callable[[F], F]:
        """Declare a page: the function takes (request, ...) and returns HTML.

        path: such as "/board".
        title: the function returns only the content, which gets the layout with this title;
            default: it returns a whole document.
        nav: whether the navigation has a link to it; it needs a title.
        roles: that may open it; default: all.
        unsafe_eval: whether its scripts may evaluate text, which Datastar needs and the built-in
            pages do not; default: False.
        """

        def add(function: Function) -> None:
            page = DeclaredPage(path, function, title, nav, tuple(roles), unsafe_eval)
            self.pages.append(page)

        return _decorator(add)

    def form(
        self,
        path: str,
        topic: str,
        fields: Sequence[str],
        *,
        title: str,
        nav: bool = False,
        roles: Sequence[str] = (),
        initial: Callable[..., Mapping[str, Any]] | None = None,
        template: Callable[..., str] | None = None,
    ) -> Callable[[F], F]:
        """Declare a page with a form for fields of a resource.

        The function takes (values, request, ...) when the values are valid, and returns the path of
        the page to open next. Its writes are one transaction, also if the form is sent twice. The
        form shows errors that it raises: Invalid, Conflict, ConstraintViolation.

        path: such as "/admit".
        topic, fields: the resource, and names of its fields in order, such as "ward_id".
        title, nav, roles: as of `page`.
        initial: returns the first values by field; it takes (request, ...).
        template: replaces the built-in page, such as `gen.pages.admit.render`.
        """

        def add(function: Function) -> None:
            page = DeclaredPage(path, function, title, nav, tuple(roles), False)
            self.forms.append(DeclaredForm(page, topic, fields, initial, template))

        return _decorator(add)

    def navigation(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Declare the order of the navigation.

        groups: title of a group → topics of resources and paths of pages. Those that no group names
            follow.
        """
        self.groups = groups

    def start_page(
        self,
        *,
        resources: Sequence[str] | None = None,
        reports: Sequence[str] | None = None,
        changes: bool = True,
    ) -> None:
        """Arrange the start page. A page at "/" replaces it.

        resources: the topics of which it shows the number of rows, in order; default: all.
        reports: the names of reports that it shows, in order; default: the first four.
        changes: whether it shows recent changes, default: True.
        """
        self.home = Home(resources, reports, changes)

    def verb(self, topic: str, name: str, *, button: bool = True) -> Callable[[F], F]:
        """Declare POST {prefix}/<path>/{id}/<name> of a resource.

        The function takes (id, request, ...) and returns the resource's row.

        button: whether the page of a row has a button for it, default: True. A verb that reads the
            body of the request needs a form of its own instead.
        """
        return _decorator(lambda f: self.verbs.append((topic, name, f, button)))

    def fragment(self, topic: str) -> Callable[[F], F]:
        """Declare how one row of a live page is rendered.

        The function takes (row, ...) and returns an HTML element with the id <topic>-<id of the
        row>.
        """
        return _decorator(lambda f: self.fragments.__setitem__(topic, f))

    def periodic(
        self,
        name: str,
        schedule: str | float,
        kind: str | type[Any],
        args: Any = None,
        *,
        zone: str = "UTC",
        missed: Literal["skip", "once", "all"] = "once",
        **options: Any,
    ) -> None:
        """Insert a job whenever it is due.

        schedule: a cron expression, or seconds between two jobs.
        zone: the IANA time zone of the cron expression, default: UTC.
        name, kind, args, missed, options: as of `jobs.Periodic`.

        Raises ForgeError F718.
        """
        times: jobs.Cron | jobs.Interval
        if isinstance(schedule, str):
            times = jobs.Cron(schedule, zone)
        else:
            times = jobs.Interval(schedule)
        self.schedules.append(jobs.Periodic(name, times, kind, args, missed, options))

    def middleware(self, function: Middleware) -> Middleware:
        """Wrap every handler: the function takes (request, handler) and returns a Response.

        It gets errors of the handler, and 404 and 405, as responses. It is not called for requests
        that are refused before it (credentials, limits, CSRF), CORS preflights, server.ready_path
        and malformed requests.
        """
        self.middlewares.append(function)
        return function

    def authenticator(self, function: Method) -> Method:
        """Declare a way to authenticate requests.

        The function takes (request) and returns an Identity, or None if the request has no
        credentials that it knows. It raises Unauthenticated for credentials that it rejects.
        Authenticators run before API keys, in the order of their declaration.
        """
        self.methods.append(function)
        return function

    def sign_in(self) -> None:
        """Let users sign in by email and password, at /account/sign-in.

        Adds the account pages, sessions, and authentication by session. Create users by `forge-min
        auth create-user`.
        """
        self.signs_in = True

    def administration(self, *roles: str) -> None:
        """Let users with one of `roles` administer users, tenants and API keys at /-/people.

        A user with the role in one tenant administers the members of that tenant. It needs
        `sign_in`.
        """
        self.administrators = roles

    def manual(self, *roles: str) -> None:
        """Serve the application's own manual at /-/help to users with one of `roles`.

        It contains fields, permissions, jobs, and the configuration without secrets. With the role
        "anybody" every client may read it.
        """
        self.manual_roles = roles

    def password_reset_sender(self, function: F) -> F:
        """Declare how links that set a password are sent, instead of by mail.

        The function takes (user, path, ...). path: such as "/account/reset?key=...", valid once. It
        is called by a job, which is retried after an error.
        """
        self.reset_sender = function
        return function

    def revalidate_identity(self, function: Renew) -> Renew:
        """Declare how the identity of an open stream is checked again, at each heartbeat.

        The function takes an Identity and returns its current state, or None if it is signed out,
        revoked or expired. It is called on a thread of its own.
        """
        self.renew = function
        return function

    def provide(self, **dependencies: object) -> None:
        """Provide values that workers, handlers and hooks take as parameters of the same name."""
        self.dependencies.update(dependencies)

    def on_start(self, function: F) -> F:
        """Call the function when all services run, before the first request or job.

        Its parameters are filled in by name.
        """
        self.start_hooks.append(function)
        return function

    def on_stop(self, function: F) -> F:
        """Call the function after the last request and job, before connections close.

        Its parameters are filled in by name.
        """
        self.stop_hooks.append(function)
        return function


class ProjectCode(NamedTuple):
    """The imported code of a project, and its configuration.

    app: the App of app.py.
    config: the configuration of this process.
    root: the project's folder, for static/, migrations/ and locale/.
    generated: the function of gen/registry.py that registers actions and returns routes.
    openapi: the content of gen/openapi.json.
    views: VIEWS of gen/registry.py, the project's own pages that replace built-in ones, by name:
    "layout", "flights.list".
    workers: the worker classes of every jobs.py.
    """

    app: App
    config: Config
    root: Traversable
    generated: Callable[[Registry, str], list[Route]]
    openapi: Mapping[str, Any] = {}
    views: Mapping[str, Callable[..., str]] = {}
    workers: Sequence[type[Any]] = ()

    def register(self, registry: Registry) -> list[Route]:
        """Register the actions and workers, and return the routes of the API.

        Raises ForgeError F701, F703 and ConfigError for `mail.url`.
        """
        routes = self.generated(registry, self.config.api.prefix)
        workers = [*self.workers, SendMail, SendAccountLinks]
        if self.app.resource_pages:
            registry.dependencies["forge_actions"] = registry.actions
            workers.append(html.PerformOnRows)
        registry.add_workers(workers)
        send = None
        if self.app.reset_sender is not None:
            send = registry.fill(self.app.reset_sender, 2)
        mailer = _new_mailer(self.config, self.root)
        project = self.config.project
        links = AccountLinks(mailer, project.title or project.name, send)
        registry.dependencies["forge_mailer"] = mailer
        registry.dependencies["forge_account_links"] = links
        return routes

    def declared_registry(self) -> tuple[Registry, list[Route]]:
        """Return a registry of the code without a database, and the routes of the API.

        Raises as `register`.
        """
        registry = Registry(db.Database(""), self.app.dependencies)
        return registry, self.register(registry)

    def roles(self, registry: Registry) -> list[str]:
        """Return the roles that the schemas, the configuration and app.py name, sorted."""
        app = self.app
        roles = {*self.config.auth.roles, *app.manual_roles, *app.administrators}
        for page in app.pages:
            roles.update(page.roles)
        for form in app.forms:
            roles.update(form.page.roles)
        for actions in registry.actions.values():
            roles.update(*actions.resource.permissions.values())
            for column in actions.resource.columns:
                roles.update(column.visible_to, column.writable_by)
        return sorted(roles - {ANYBODY})

    def kinds(self) -> dict[str, jobs.Kind]:
        """Return the kinds of jobs that have workers, without a database.

        Raises ForgeError F716, F718, F719 or F723 if a hook, a schedule or a worker does not fit.
        """
        registry, _ = self.declared_registry()
        registry.bind_hooks()
        kinds = registry.declared()
        jobs.check_periodic(self.app.schedules, jobs.Catalogue(kinds))
        return kinds


def declared_queues(registry: Registry, schedules: Iterable[jobs.Periodic]) -> dict[str, list[str]]:
    """Map each queue to the kinds of jobs that hooks, schedules and worker classes insert into it.

    For the job of a hook, the hook names the queue, not the worker class.
    """
    kinds = registry.declared()
    uses = set()  # of a queue by a kind
    kinds_of_hooks = set()
    for actions in registry.actions.values():
        for hook in actions.resource.hooks:
            uses.add((hook.queue, hook.kind))
            kinds_of_hooks.add(hook.kind)
    for name, kind in kinds.items():
        if name not in kinds_of_hooks:
            uses.add((kind.queue, name))
    for periodic in schedules:
        name = periodic.kind_name
        queue = periodic.options.get("queue") or kinds[name].queue
        uses.add((queue, name))
    queues: dict[str, list[str]] = {}
    for queue, name in sorted(uses):
        queues.setdefault(queue, []).append(name)
    return queues


def _new_mailer(config: Config, root: Traversable) -> Mailer:
    """Return the mailer. In development without `mail.url` it writes files.

    root: of the project.

    Raises ConfigError for a malformed `mail.url`.
    """
    site = config.project.url or f"http://localhost:{config.server.port}"
    sender = config["mail.from"] or "forge_min <noreply@localhost>"
    transport: FileTransport | SMTPTransport | None = None
    if config.mail.url:
        transport = SMTPTransport(config.mail.url)
    elif config.env == "development" and isinstance(root, Path):
        transport = FileTransport(root / OUTBOX)
    return Mailer(transport, sender, site)


def _decorator(add: Callable[[Any], None]) -> Callable[[F], F]:
    def declare(function: F) -> F:
        add(function)
        return function

    return declare
