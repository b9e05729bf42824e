"""A started application. Config is read in this room and nowhere below: services take plain
values.

`__init__` builds in an order in which each part finds what it needs; `stop` goes the other way.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .. import db, fanout, html, i18n, jobs, notify, observe, sse
from ..actions import Limits, Registry
from ..api import StreamReauthorizer, events_handler
from ..config import Config, parse_rate
from ..errors import ForgeError, NotFound
from ..html import Frame, Links, ProblemPages
from ..jobs import control
from ..wsgi import (
    CORS,
    CSRF,
    Application,
    Compress,
    ConcurrencyLimit,
    Handler,
    Identify,
    Middleware,
    OnAnswered,
    RateLimits,
    Request,
    Response,
    Route,
    ServerThread,
    tenant_in_path,
    text_response,
)
from .authentication import Authentication, caller
from .declaration import App, Generated, declared_queues
from .encoder import Encoder
from .metrics import Metrics
from .routes import UNCOUNTED, build_router
from .tracing import JobSpan, RequestSpan, new_telemetry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..admin import JobsPages

log = logging.getLogger("forge_min.app")
_MARGIN = 5.0  # seconds beyond database.statement_timeout until the server is held for dead
_FIRST_PAGE = 0.1  # seconds that a start leaves to who asks first
SHEET = "/static/css/app.css"  # of a project, for our pages beside its own


class Runtime:
    """The services of one process, built and started by the constructor.

    root: the project's folder, for static/ and migrations/. build: build-info.json, or {}. serving:
    False for a process that only works jobs. secret: what cursors are signed with. application: the
    PEP 3333 callable, when it serves. on_answered: for our own server.
    The constructor raises ConfigError (F412: the role is not bound by policies), Unavailable
    (database) and ForgeError F70x (workers).
    """

    application: Application
    on_answered: OnAnswered
    hub: notify.PostgresHub | None = None
    _links: Links | None = None

    def __init__(
        self,
        app: App,
        config: Config,
        generated: Generated,
        root: Traversable,
        *,
        build: Mapping[str, Any],
        serving: bool,
        secret: bytes,
    ) -> None:
        self._config = config
        self._tenant_tables: set[str] = set()
        self._migrations = [*db.FORGE_MIGRATIONS, *db.read_migrations(root / "migrations", "app")]
        self._worker: jobs.Worker | None = None
        self.schedules = app.schedules
        self.metrics = Metrics(observe.Registry(), build)
        # What an insert on our connections is checked by; filled once the workers are known.
        self._catalogue = jobs.Catalogue(
            max_attempts=config.jobs.max_attempts, inserted=self.metrics.jobs_inserted
        )
        # What server.ready_path answers by; the process that serves knows more.
        self.readiness: Callable[[], tuple[bool, object] | None] = observe.SingleFlight(
            self.ready
        ).answer
        self._stack = ExitStack()  # what is running so far; closed where a later part fails
        with self._stack:
            telemetry = new_telemetry(
                config.observe, development=serving and config.env == "development"
            )
            if telemetry is not None:
                self._stack.callback(telemetry.shutdown)
                self.metrics.watch_dropped("forge_spans_dropped_total", telemetry.dropped)
            self.metrics.watch_dropped(
                "forge_log_dropped_total", observe.lines_to(sys.stderr).dropped
            )
            self._connect(traced=telemetry is not None)
            self.registry = Registry(
                self.database,
                app.dependencies,
                secret=secret,
                limits=Limits(config.server.max_body, config.api.max_response),
                max_conditions=config.api.max_conditions,
            )
            routes = generated.register(self.registry, config.api.prefix)
            self.registry.add_workers(generated.workers)
            self.registry.bind_hooks(config.jobs.max_attempts)
            self._know_jobs(app)
            resources = [actions.resource for actions in self.registry.actions.values()]
            scoped = [resource for resource in resources if resource.tenant_scoped]
            for resource in scoped:
                self._tenant_tables |= {resource.topic, resource.table, resource.source}
            if scoped:
                db.check_bound_role(self.database.connection())
            i18n.load(root / "locale")
            self._open_admin()
            if serving:
                self._serve(app, generated, routes, root)
            if "opentelemetry.metrics" in sys.modules:  # else nobody reads, and it takes its time
                self._stack.callback(observe.Exposed(self.metrics.registry).close)
            own = self.database.connection()  # raises here, before stop hooks have to run
            self._stack.callback(self._call, app.stop_hooks)
            if self._links is not None:
                self._links.start()
                self._stack.callback(self._links.stop)  # what sends them may need what hooks end
            # PERF: what nobody waits for connects after the first page (benchmarks/observe).
            self._nudger.start(_FIRST_PAGE)
            if self.hub is not None:
                self.hub.start(_FIRST_PAGE)
            self._call(app.start_hooks)
            own.close()  # this thread answers no request
            self._stack = self._stack.pop_all()

    def new_worker(
        self, queues: Mapping[str, int], on_stuck: Callable[[], object] | None = None
    ) -> jobs.Worker:
        """A worker of these queues (name → threads), not started yet; `stop` stops it.

        on_stuck: as of `jobs.Worker`. Raises ForgeError F703 when a worker class asks for what
        nobody provides.
        """
        c = self._config.jobs
        self._worker = jobs.Worker(
            self.database.connection,  # a job and the actions that it calls share their thread's
            self.registry.kinds(),
            queues=queues,
            poll_interval=c.poll_interval,
            prefetch=c.prefetch,
            timeout=c.timeout,
            heartbeat=c.heartbeat,
            rescue_after=c.rescue_after,
            periodic=self.schedules,
            retention=jobs.Retention(c.retention, c.discarded_retention),
            observer=self.metrics.job_done,
            around=JobSpan,
            listen=self._direct.connection if c.listen else None,
            nudger=self._nudger,
            on_stuck=on_stuck,
        )
        self._stack.callback(self._worker.stop, c.shutdown_timeout)
        return self._worker

    def unserved(self, queues: Collection[str]) -> dict[str, list[str]]:
        """Queues that jobs of this project go to, beside `queues`, and that no living worker works;
        each with the kinds of its jobs. Raises as `db.connect`, and the errors of `db.translate`.
        """
        served = {*queues, *control.served(self.database.connection())}
        declared = declared_queues(self.registry, self.schedules)
        return {queue: kinds for queue, kinds in declared.items() if queue not in served}

    def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Whether requests can be answered, and the reason of each part that cannot."""
        parts = {"hub": self.hub} if self.hub is not None else {"worker": self._worker}
        states = {name: part.ready for name, part in parts.items() if part is not None}
        reasons = {name: reason for name, (good, reason) in states.items() if not good}
        try:
            with db.errors_translated():
                rows = db.migration_status(self.database.verified(), self._migrations)
        except ForgeError as err:
            reasons["database"] = err.message
        else:
            # "missing" is a newer release's, which keeps its tables readable for us.
            behind = [row.name for row in rows if row.state not in ("applied", "missing")]
            if behind:
                reasons["migrations"] = "not applied: " + ", ".join(behind)
        return not reasons, reasons

    def stop(self) -> None:
        """Stop every service, the last started first. Idempotent."""
        self._stack.close()

    def _connect(self, *, traced: bool) -> None:
        c = self._config.database
        self._nudger = notify.Nudger(self._open_direct)
        self.database, self._direct = (
            self._new_database(
                url,
                self._config.project.name,
                observe=self.metrics.query_done,
                jobs=self._catalogue,
                opened=partial(self._opened, traced=traced),
            )
            for url in (c.url, c.direct_url)
        )
        self._stack.callback(self._nudger.stop)

    def _new_database(self, url: str, name: str, **options: Any) -> db.Database:
        """Connections that `stop` closes."""
        c = self._config.database
        # PostgreSQL itself ends slow statements, unless its machine hangs.
        patience = c.statement_timeout + _MARGIN if c.statement_timeout else inf
        database = db.Database(
            url,
            application_name=name,
            prepare=c.prepare,
            nudger=self._nudger,
            patience=patience,
            **options,
        )
        self._stack.callback(database.close)
        return database

    def _open_direct(self) -> db.Connection:
        """A connection past any pooler: LISTEN and NOTIFY."""
        c = self._config.database
        name = self._config.project.name
        return db.connect(c.direct_url, application_name=name, prepare=c.prepare)

    def _listen(self, app: App) -> notify.PostgresHub:
        c = self._config.notify
        encoder = Encoder(self.registry, app.fragments)
        hub = notify.PostgresHub(
            self._open_direct,
            encoder.encode,
            poll_interval=c.poll_interval,
            listen=c.listen,
            retention=c.retention,
            ring=max(64, self._config.sse.buffer_size),
            resume_window=self._config.sse.resume_window,
            begin=encoder.begin,
            nudger=self._nudger,
        )
        self._stack.callback(hub.stop)
        return hub

    def _open_admin(self) -> None:
        """What the admin server shows of the database, on connections of its own threads."""
        name = f"{self._config.project.name} admin"
        database = self._admin_database = self._new_database(self._config.database.url, name)
        counted = observe.SingleFlight(lambda: control.counted(database.connection()))
        self.metrics.watch("forge_jobs", lambda: counted.answer() or {})

    @cached_property
    def jobs_pages(self) -> JobsPages:
        """Handler of the admin server's /jobs, created by the first request.

        Raises NotFound in an artifact without it.
        """
        try:
            from ..admin import JobsPages
        except ModuleNotFoundError as err:
            message = "this artifact has no jobs page; the command `jobs list` lists all jobs"
            raise NotFound(message) from err
        reporting = partial(jobs.told_of, self._catalogue.kinds)
        return JobsPages(self._admin_database, self._config.project.name, reporting)

    def _know_jobs(self, app: App) -> None:
        self._catalogue.kinds = self.registry.declared()
        # In production another release may have the worker.
        self._catalogue.strict = self._config.env == "development"
        jobs.check_periodic(app.schedules, self._catalogue)

    def _serve(
        self, app: App, generated: Generated, routes: Sequence[Route], root: Traversable
    ) -> None:
        config, registry, c = self._config, self.registry, self._config.sse
        limiter = fanout.Limiter(max_total=c.max_connections, max_per_user=c.max_per_user)
        hub = self.hub = self._listen(app)
        writer = fanout.StreamWriter(heartbeat=c.heartbeat, buffer_size=c.buffer_size)
        writer.start()
        self._stack.callback(writer.stop, 5.0, sse.close_frame("shutdown"))
        self.metrics.watch_streams(hub, writer, limiter)
        sheets = [SHEET] if (root / "static" / "css" / "app.css").is_file() else []
        own = generated.views.get("layout")
        frame = Frame(config.project.name, own=own, stylesheets=sheets)
        callers = Authentication(app, registry, config, frame, generated.views)
        self._links = callers.links
        patrol = StreamReauthorizer(writer, c.heartbeat, self._admit, callers.renew)
        patrol.start()
        self._stack.callback(patrol.stop)
        events = events_handler(
            hub,
            limiter,
            writer,
            topics=registry.actions,
            heartbeat=c.heartbeat,
            admit=self._admit,
            patrol=patrol,
            refused=self.metrics.stream_refused,
        )
        probe = self._probe
        router = build_router(
            app, registry, generated, routes, events, root, config, frame, callers.account, probe
        )
        problems = ProblemPages(frame, config.api.prefix, html.SIGN_IN if app.signs_in else "")
        limits = self._rate_limits(frame)
        o = config.observe
        access = observe.AccessLog(format=o.log_format, level=o.log_level)
        access.start()
        self._stack.callback(access.stop)
        self.application = Application(
            router,
            middleware=[
                problems,
                Identify(callers.methods, limits.failed, callers.varies),
                self._concurrency(),
                CSRF(registry.secret, config.api.cors_origins, secure=config.env == "production"),
                limits,
                *self._reads_in_time(),
                *app.middlewares,
            ],
            outer=self._outer(callers),
            observe=self.metrics.request_done,
            around=RequestSpan,
            access=access,
            max_body=config.server.max_body,
            probe=probe,
        )
        application = self.application  # whatever stands around it by the time of a scrape
        self.on_answered = application.answered
        limit = config.server.max_connections
        self.metrics.watch("forge_http_connections_limit", lambda: limit)
        self.metrics.watch("forge_http_requests_in_flight", lambda: application.in_flight)

    def _rate_limits(self, frame: Frame) -> RateLimits:
        c = self._config.api
        limits = {kind: parse_rate(rate) or (1, 1.0) for kind, rate in c.rate_limit.items()}
        pages = [path + page for path in frame.resources for page in html.LISTING]
        return RateLimits(limits, c.prefix, caller, pages)

    def _concurrency(self) -> ConcurrencyLimit:
        c = self._config.server
        most = c.max_per_client or max(1, c.threads // 2)
        return ConcurrencyLimit(most, max(most, c.threads - 1), caller, UNCOUNTED)

    def _reads_in_time(self) -> list[Middleware]:
        seconds = self._config.database.read_timeout

        def limited(request: Request, handler: Handler) -> Response:
            token = db.read_timeout.set(seconds)
            try:
                return handler(request)
            finally:
                db.read_timeout.reset(token)

        return [limited] if seconds else []

    def _outer(self, callers: Authentication) -> list[Middleware]:
        origins = self._config.api.cors_origins
        found: list[Middleware] = [CORS(origins, callers.varies)] if origins else []
        if self._config.tenancy.strategy == "path":
            found.append(tenant_in_path)
        return [*found, Compress()]

    def _admit(self, topic: str) -> UUID | None:
        """The tenant whose events the current identity hears. Raises for who may not read."""
        actions = self.registry.actions[topic]
        actions.allow("read")
        return actions.tenant()

    def _call(self, hooks: Sequence[Callable[..., object]]) -> None:
        for hook in hooks:
            self.registry.fill(hook, 0)()

    def _opened(self, conn: db.Connection, *, traced: bool) -> None:
        # Nothing interrupts a thread of our server (docs/architecture.md, Threads); a job's thread
        # is interrupted by the job's time-out.
        conn.patient = isinstance(threading.current_thread(), ServerThread)
        conn.tenant_tables = self._tenant_tables
        conn.checks_tenant = self._config.env == "development"
        if traced:
            observe.trace_connection(conn)

    def _probe(self, request: Request) -> Response:
        """The status of server.ready_path; the admin server gives reasons."""
        status = self.readiness()
        headers = [("Cache-Control", "no-store")]
        if status is not None and status[0]:
            return text_response("ready\n", headers=headers)
        return text_response("not ready\n", 503, [*headers, ("Retry-After", "1")])
