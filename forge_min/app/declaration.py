"""`App`: what a project adds to its generated code. It only declares; nothing runs before start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from .. import db, jobs
from .._compat import renamed
from ..actions import Registry
from ..auth import Renew
from ..wsgi import Method, Middleware, Route

F = TypeVar("F", bound=Callable[..., Any])


class Generated(NamedTuple):
    """What gen/ gives: `register` and VIEWS of gen/registry.py, the content of gen/openapi.json.

    views: the project's own pages in place of ours, by name: "layout", "flights.list". workers: the
    worker classes of every jobs.py.
    """

    register: Callable[[Registry, str], list[Route]]
    openapi: Mapping[str, Any]
    views: Mapping[str, Callable[..., str]] = {}
    workers: Sequence[type[Any]] = ()


class App:
    """The declarations of one project; app.py holds it as `app`.

    A function's parameters after the documented ones are filled in by name: dependencies given to
    `provide`, and the actions of every resource, known by its topic.

    resource_pages: whether each resource has its pages, at /flights; or the topics of those that
    have.
    """

    def __init__(self, *, resource_pages: bool | Collection[str] = True) -> None:
        self.resource_pages = resource_pages
        self.routes: list[tuple[str, str, Callable[..., Any], str]] = []
        self.pages: list[tuple[str, Callable[..., str], bool]] = []
        self.verbs: list[tuple[str, str, Callable[..., Any]]] = []
        self.fragments: dict[str, Callable[..., str]] = {}
        self.middlewares: list[Middleware] = []
        self.methods: list[Method] = []
        self.signs_in = False
        self.reset_sender: Callable[..., object] | None = None
        self.schedules: list[jobs.Periodic] = []
        self.renew: Renew = lambda identity: identity
        self.dependencies: dict[str, object] = {}
        self.start_hooks: list[Callable[..., object]] = []
        self.stop_hooks: list[Callable[..., object]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self, renamed("forge_min.app.App", name))

    def route(self, method: str, path: str, *, name: str = "") -> Callable[[F], F]:
        """A route of your own: the function takes (request, ...) and returns a Response."""
        return _decorator(lambda f: self.routes.append((method, path, f, name)))

    def page(self, path: str, *, unsafe_eval: bool = False) -> Callable[[F], F]:
        """A page: the function takes (request, ...) and returns HTML text.

        unsafe_eval: its scripts may evaluate text, which Datastar needs and nothing of ours does.
        """
        return _decorator(lambda f: self.pages.append((path, f, unsafe_eval)))

    def verb(self, topic: str, name: str) -> Callable[[F], F]:
        """POST {prefix}/<path>/{id}/<name>: takes (id, request, ...), returns the resource's
        row.
        """
        return _decorator(lambda f: self.verbs.append((topic, name, f)))

    def fragment(self, topic: str) -> Callable[[F], F]:
        """One row of a live page: takes (row, ...), returns HTML whose id is <topic>-<row's id>."""
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
        """Insert a job whenever it is due. schedule: a cron expression, read by the clock of `zone`
        (an IANA name), or seconds. The rest: as of `jobs.Periodic`. Raises ForgeError F718.
        """
        made = jobs.Cron(schedule, zone) if isinstance(schedule, str) else jobs.Interval(schedule)
        self.schedules.append(jobs.Periodic(name, made, kind, args, missed, options))

    def middleware(self, function: Middleware) -> Middleware:
        """Stand around every route: takes (request, handler) and returns a Response."""
        self.middlewares.append(function)
        return function

    def authenticator(self, function: Method) -> Method:
        """Another way to know who asks: takes (request), gives an Identity, None where the request
        says nothing that it knows of; raises Unauthenticated for what it does not believe. Asked
        before API keys, in the order of declaration.
        """
        self.methods.append(function)
        return function

    def sign_in(self) -> None:
        """People sign in by email and password, at /account/sign-in: pages, sessions, and who asks.
        Users are made by `forge-min auth create-user`.
        """
        self.signs_in = True

    def password_reset_sender(self, function: F) -> F:
        """Sends somebody who forgot the password to a page, for an hour and once: takes (user,
        path, ...), path as in "/account/reset?key=...". With it /account/forgot is there. Called
        after the request is answered, on a thread of its own, one at a time.
        """
        self.reset_sender = function
        return function

    def revalidate_identity(self, function: Renew) -> Renew:
        """What an identity is by now, None when it is signed out, revoked or expired: asked of
        every open stream at each heartbeat, on a thread of its own.
        """
        self.renew = function
        return function

    def provide(self, **dependencies: object) -> None:
        """Values that workers, handlers and hooks may ask for by name."""
        self.dependencies.update(dependencies)

    def on_start(self, function: F) -> F:
        """Called, filled in by name, when every service runs, before the first request or job."""
        self.start_hooks.append(function)
        return function

    def on_stop(self, function: F) -> F:
        """Called, filled in by name, after the last request and job, before connections close."""
        self.stop_hooks.append(function)
        return function


def declared_registry(app: App, generated: Generated) -> Registry:
    """What the code registers: actions and workers; needs no database. Raises ForgeError F701."""
    registry = Registry(db.Database(""), app.dependencies)
    generated.register(registry, "")
    registry.add_workers(generated.workers)
    return registry


def declared_kinds(app: App, generated: Generated) -> dict[str, jobs.Kind]:
    """The kinds of jobs that there are workers for; needs no database.

    Raises ForgeError where a hook, a schedule or a worker does not fit: F702, F716 to F720.
    """
    registry = declared_registry(app, generated)
    registry.bind_hooks()
    known = registry.declared()
    jobs.check_periodic(app.schedules, jobs.Catalogue(known.values()))
    return known


def declared_queues(registry: Registry, schedules: Iterable[jobs.Periodic]) -> dict[str, list[str]]:
    """Queue → the kinds of jobs that hooks, schedules and worker classes put into it. The class of
    a hook's job has no say there: its hook names the queue.
    """
    known = registry.declared()
    hooks = [hook for made in registry.actions.values() for hook in made.resource.hooks]
    used = {(hook.queue, hook.kind) for hook in hooks}
    hooked = {hook.kind for hook in hooks}
    used |= {(kind.queue, name) for name, kind in known.items() if name not in hooked}
    for each in schedules:
        name = each.kind if isinstance(each.kind, str) else each.kind.kind
        used.add((each.options.get("queue") or known[name].queue, name))
    queues: dict[str, list[str]] = {}
    for queue, kind in sorted(used):
        queues.setdefault(queue, []).append(kind)
    return queues


def _decorator(add: Callable[[Any], None]) -> Callable[[F], F]:
    def declare(function: F) -> F:
        add(function)
        return function

    return declare
