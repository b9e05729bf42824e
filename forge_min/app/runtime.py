"""A started application.

Config is read in this package and in no lower layer: services take plain values.
`__init__` builds the services in the order of their dependencies; `stop` stops them in reverse.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from importlib.util import find_spec
from math import inf
from typing import Any
from uuid import UUID

from .. import db, fanout, html, i18n, jobs, notify, observe, sse, wsgi
from ..actions import Limits, Registry
from ..api import StreamReauthorizer, events_handler
from ..config import parse_rate
from ..errors import ForgeError, NotFound
from ..html import Layout, ProblemPages
from ..jobs import control
from .authentication import Authentication
from .consistency import ReadYourWrites
from .declaration import ProjectCode, declared_queues
from .encoder import Encoder
from .routes import UNCOUNTED, brand_of, build_router
from .telemetry import JobSpan, Metrics, RequestSpan, new_telemetry
from .waits import limit_waits

log = logging.getLogger("forge_min.app")
_MARGIN = 5.0  # seconds beyond database.statement_timeout until PostgreSQL counts as dead
# Seconds that a write of a request waits for a lock. More than PostgreSQL's default of
# deadlock_timeout, so that a deadlock is found before, and the write repeated.
_LOCK_WAIT = 1.1
_FIRST_PAGE = 0.1  # seconds after the start that are reserved for the first request
SHEET = "/static/css/app.css"  # the project's stylesheet, which the built-in pages use, too


class Runtime:
    """The services of one process, built and started by the constructor.

    build: build-info.json, or {}.
    serving: False for a process that only runs jobs.
    secret: the key that signs cursors, forms and device cookies.
    application: the PEP 3333 callable, if it serves.
    on_server_response: the callback of forge_min's own server.

    The constructor raises ConfigError (F412: policies do not bind the role), Unavailable
    (database), ForgeError F70x (workers), and the errors of `build_router` if it serves.
    """

    application: wsgi.Application
    on_server_response: wsgi.OnServerResponse
    hub: notify.PostgresHub | None = None

    def __init__(
        self,
        code: ProjectCode,
        *,
        build: Mapping[str, Any],
        serving: bool,
        secret: bytes,
    ) -> None:
        app = code.app
        config = code.config
        self._code = code
        self._config = config
        self._lock_wait = min(_LOCK_WAIT, config.database.lock_timeout or _LOCK_WAIT)
        self._tenant_tables = set[str]()
        own_migrations = db.read_migrations(code.root / "migrations", "app")
        self._migrations = [*db.FORGE_MIGRATIONS, *own_migrations]
        self._worker: jobs.Worker | None = None
        self.schedules = app.schedules
        self.metrics = Metrics(observe.MetricRegistry(), build)
        # Inserts on our connections are checked against this catalogue; filled once the workers are
        # known. Not strict in production, where another release may have the worker.
        self._catalogue = jobs.Catalogue(
            max_attempts=config.jobs.max_attempts,
            strict=config.env == "development",
            inserted=self.metrics.jobs_inserted,
        )
        self.draining = False
        self._has_events = False  # the hub has read the event log
        self._readiness = observe.SingleFlight(self.ready)
        self._stack = ExitStack()  # the services that run; closed if a later one fails to start
        with self._stack:
            self._connect(traced=self._start_telemetry(serving))
            # If the database is away, fail before the rest is built and registered: the process may
            # try again for hours.
            conn = self.database.connection()
            routes = self._register(secret)
            if self._tenant_tables:
                db.check_bound_role(conn)
            i18n.load(code.root / "locale", config.project.language)
            wsgi.set_default_zone(config.project.time_zone)
            if serving:
                self._serve(routes)
            if "opentelemetry.metrics" in sys.modules:  # else nothing reads them
                bridge = observe.MeterBridge(self.metrics.registry)
                self._stack.callback(bridge.close)
            self._stack.callback(self._call, app.stop_hooks)
            # PERF: background services connect after the first page (benchmarks/observe).
            self._nudger.start(_FIRST_PAGE)
            if self.hub is not None:
                self.hub.start(_FIRST_PAGE)
            self._call(app.start_hooks)
            conn.close()  # this thread answers no request
            self._stack = self._stack.pop_all()

    def new_worker(
        self, queues: Mapping[str, int], on_stuck: Callable[[], object] | None = None
    ) -> jobs.Worker:
        """Return a worker of these queues (name → threads), not started yet; `stop` stops it.

        on_stuck: as in `jobs.Worker`.

        Raises ForgeError F703 if a worker class needs a dependency that is not provided.
        """
        config = self._config.jobs
        self._worker = jobs.Worker(
            self.database.connection,  # a job and the actions that it calls share their thread's
            self.registry.kinds(),
            queues=queues,
            poll_interval=config.poll_interval,
            prefetch=config.prefetch,
            timeout=config.timeout,
            heartbeat=config.heartbeat,
            rescue_after=config.rescue_after,
            periodic=self.schedules,
            retention=jobs.Retention(config.retention, config.discarded_retention),
            observer=self.metrics.job_done,
            around=JobSpan,
            listen=self._direct.connection if config.listen else None,
            nudger=self._nudger,
            on_stuck=on_stuck,
        )
        self._stack.callback(self._worker.stop, config.shutdown_timeout)
        return self._worker

    def unserved(self, queues: Collection[str]) -> dict[str, list[str]]:
        """Map each queue that no living worker serves to the kinds of jobs that go there.

        queues: more queues that count as served.

        Raises as `db.connect`, and the errors of `db.translate`.
        """
        served = {*queues, *control.served_queues(self.database.connection())}
        declared = declared_queues(self.registry, self.schedules)
        return {queue: kinds for queue, kinds in declared.items() if queue not in served}

    def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Return whether requests can be answered, and the reason of each part that has a fault.

        A missing standby is a fault, but reads are answered. Without the hub, after its first read,
        all requests are answered.
        """
        reasons = {}
        if self._worker is not None and self.hub is None:
            is_fetching, reason = self._worker.ready
            if not is_fetching:
                reasons["worker"] = reason
        try:
            with db.errors_translated():
                conn = self.database.verified()
                migrations = db.migration_status(conn, self._migrations)
        except ForgeError as err:
            reasons["database"] = err.message
        else:
            # "missing": applied by a newer release, not one of our files; its tables stay readable
            # for us.
            pending = [m.name for m in migrations if m.state not in ("applied", "missing")]
            if pending:
                reasons["migrations"] = "not applied: " + ", ".join(pending)
        is_ready = not reasons
        if self.hub is not None:
            is_reading, reason = self.hub.ready
            if is_reading or reason.startswith("F451"):  # on a standby nothing can be saved
                self._has_events = is_reading
            if not is_reading:
                reasons["hub"] = reason
                is_ready &= self._has_events
        if self.database.standbys.are_missing:  # it still reads
            reasons["standby"] = "F419: writes are refused until a synchronous standby returns"
        return is_ready, reasons

    def readiness(self) -> tuple[bool, Mapping[str, str]]:
        """Return whether requests should be sent to this process, and the reasons if not.

        It is for probes: concurrent callers share one `ready`, and wait a second at most.
        """
        if self.draining:
            return False, {"server": "draining"}
        return self._readiness.result() or (False, {"database": "does not answer"})

    def drain(self) -> None:
        """Report that `stop` follows soon: no longer ready, still alive."""
        self.draining = True

    def stop(self) -> None:
        """Stop every service, the last started first. Idempotent."""
        self._stack.close()

    def _start_telemetry(self, serving: bool) -> bool:
        """Return whether statements are traced."""
        telemetry = new_telemetry(self._config, serving=serving)
        if telemetry is not None:
            self._stack.callback(telemetry.shutdown)
            self.metrics.watch_dropped("forge_spans_dropped_total", telemetry.dropped)
        lines = observe.line_writer(sys.stderr)
        self.metrics.watch_dropped("forge_log_dropped_total", lines.dropped)
        return telemetry is not None

    def _register(self, secret: bytes) -> list[wsgi.Route]:
        """Create the registry, and return the routes of the API."""
        config = self._config
        max_body = config.server.max_body
        limits = Limits(max_body, config.api.max_response, config.api.max_conditions)
        dependencies = self._code.app.dependencies
        registry = Registry(self.database, dependencies, secret=secret, limits=limits)
        registry.advises = config.env == "development"
        self.registry = registry
        routes = self._code.register(registry)
        registry.bind_hooks(config.jobs.max_attempts)
        self._catalogue.kinds = registry.declared()
        jobs.check_periodic(self.schedules, self._catalogue)
        for actions in registry.actions.values():
            resource = actions.resource
            if resource.tenant_scoped:
                self._tenant_tables |= {resource.topic, resource.table, resource.source}
        return routes

    def _connect(self, *, traced: bool) -> None:
        url = self._config.database.url
        self._nudger = notify.Nudger(partial(self._open, url))
        options: dict[str, Any] = {}
        options["opened"] = partial(self._opened, traced=traced)
        options["observe"] = self.metrics.query_done
        longest = self._config.server.handler_timeout  # of a request; 0: unlimited
        if longest:
            options["idle"] = 2 * max(longest, db.IDLE)
        self.database = self._new_database(url, **options)
        self._direct = self._new_database(self._config.database.direct_url, **options)
        self._stack.callback(self._nudger.stop)
        if self._config.database.replica_urls:
            self._add_replicas(options)
        # Each thread of the admin server has its own connection.
        self._admin_database = self._new_database(url, " admin")
        connection = self._admin_database.connection
        job_counts = observe.SingleFlight(lambda: control.job_counts(connection()))
        self.metrics.watch("forge_jobs", lambda: job_counts.result() or {})

    def _add_replicas(self, options: Mapping[str, Any]) -> None:
        config = self._config.database
        openers = []
        connections = []
        for url in map(db.standby_url, config.replica_urls):
            openers.append(partial(self._open, url))
            standby = self._new_database(url, **options)
            connections.append(standby.connection)
        open_primary = partial(self._open, config.url)
        replicas = db.Replicas(open_primary, openers, connections, config.replica_max_lag)
        self.database.replicas = replicas
        self._stack.callback(replicas.stop)

    def _new_database(self, url: str, suffix: str = "", **options: Any) -> db.Database:
        """Return a database; `stop` closes its connections. suffix: of their name."""
        config = self._config.database
        # PostgreSQL itself cancels slow statements, unless its machine hangs.
        patience = inf
        if config.statement_timeout:
            patience = config.statement_timeout + _MARGIN
        if url == config.url:
            options["direct_url"] = config.direct_url
        database = db.Database(
            url,
            application_name=self._config.project.name + suffix,
            prepare=config.prepare,
            nudger=self._nudger,
            patience=patience,
            jobs=self._catalogue,
            **options,
        )
        self._stack.callback(database.close)
        return database

    def _open(self, url: str) -> db.Connection:
        """Open a connection of a background service."""
        name = self._config.project.name
        return db.connect(url, application_name=name, prepare=self._config.database.prepare)

    def _new_hub(self) -> notify.PostgresHub:
        config = self._config.notify
        streams = self._config.sse
        database = self._config.database
        encoder = Encoder(self.registry, self._code.app.fragments)
        hub = notify.PostgresHub(
            partial(self._open, database.direct_url),
            encoder.begin,
            connect_pooled=partial(self._open, database.url),
            poll_interval=config.poll_interval,
            listen=config.listen,
            retention=config.retention,
            ring=max(64, streams.buffer_size),
            resume_window=streams.resume_window,
            nudger=self._nudger,
        )
        self._stack.callback(hub.stop)
        return hub

    @cached_property
    def jobs_pages(self) -> wsgi.Handler:
        """The handler of the admin server's /jobs, created by the first request.

        Raises NotFound in an artifact without it.
        """
        if find_spec("..admin.jobs", __package__) is None:
            raise NotFound("this artifact has no jobs page; the command `jobs list` lists all jobs")
        from ..admin import jobs as jobs_page

        read_kinds = partial(jobs.kinds_with_discarded, self._catalogue.kinds)
        inserts = {job.name: partial(jobs.insert_now, each=job) for job in self.schedules}
        project = self._config.project.name
        return jobs_page.JobsPages(self._admin_database, project, read_kinds, inserts)

    def _serve(self, routes: Sequence[wsgi.Route]) -> None:
        code = self._code
        config = code.config
        registry = self.registry
        if self.database.replicas is not None:
            self.database.replicas.start()
        stylesheets = []
        if (code.root / "static" / "css" / "app.css").is_file():
            stylesheets.append(SHEET)
        own_layout = code.views.get("layout")
        layout = Layout(brand_of(config), own=own_layout, stylesheets=stylesheets)
        authentication = Authentication(code, registry, layout)
        events = self._serve_events(authentication)
        account = authentication.account
        router = build_router(code, registry, routes, events, self._probe, layout, account)
        ask_to_sign_in = account.ask_to_sign_in if account else None
        access = observe.AccessLog(format=config.observe.log_format, level=config.observe.log_level)
        access.lines.start()
        self._stack.callback(access.lines.stop)
        self.application = wsgi.Application(
            router,
            middleware=[*self._middleware(authentication, layout), *code.app.middlewares],
            problem_page=ProblemPages(layout, config.api.prefix, ask_to_sign_in),
            outer=self._outer(authentication),
            observe=self.metrics.request_done,
            instrument=RequestSpan,
            access=access,
            max_body=config.server.max_body,
            probe=self._probe,
        )
        application = self.application  # development wraps the attribute later
        self.on_server_response = application.record_server_response
        self.metrics.watch("forge_http_connections_limit", lambda: config.server.max_connections)
        self.metrics.watch("forge_http_requests_in_flight", lambda: application.in_flight)

    def _serve_events(self, authentication: Authentication) -> wsgi.Handler:
        """Start the services of live streams, and return the handler of /events."""
        config = self._config.sse
        limiter = fanout.Limiter(max_total=config.max_connections, max_per_user=config.max_per_user)
        self.hub = self._new_hub()
        writer = fanout.StreamWriter(heartbeat=config.heartbeat, buffer_size=config.buffer_size)
        writer.start()
        self._stack.callback(writer.stop, 5.0, sse.close_frame("shutdown"))
        self.metrics.watch_streams(self.hub, writer, limiter)
        renew = authentication.renew
        reauthorizer = StreamReauthorizer(writer, config.heartbeat, self._admit, renew)
        reauthorizer.start()
        self._stack.callback(reauthorizer.stop)
        return events_handler(
            self.hub,
            limiter,
            reauthorizer,
            topics=self.registry.actions,
            on_refused=self.metrics.stream_refused,
        )

    def _middleware(self, authentication: Authentication, layout: Layout) -> list[wsgi.Middleware]:
        config = self._config
        api = config.api
        threads = config.server.threads
        secret = self.registry.secret
        is_production = config.env == "production"
        rates = {kind: parse_rate(rate) or (1, 1.0) for kind, rate in api.rate_limit.items()}
        lists = layout.resources
        exports = [f"{path}.csv" for path in lists]
        limits = wsgi.RateLimits(rates, api.prefix, *lists, *exports, html.REPORTS)
        costly = [path + page for path in lists for page in html.ROW_PAGES]
        per_client = config.server.max_per_client or max(1, threads // 2)
        per_address = max(per_client, threads - 1)
        middleware = []
        if config.database.replica_urls:
            middleware.append(ReadYourWrites(secret, secure=is_production))
        return [
            *middleware,
            wsgi.Identify(authentication.methods, limits.count_failure, authentication.varies),
            wsgi.ConcurrencyLimit(per_client, per_address, UNCOUNTED, costly),
            wsgi.CSRF(secret, api.cors_origins, secure=is_production),
            limits,
            limit_waits(config.database.read_timeout, self._lock_wait, threads // 2),
        ]

    def _outer(self, authentication: Authentication) -> list[wsgi.Middleware]:
        middleware: list[wsgi.Middleware] = []
        origins = self._config.api.cors_origins
        if origins:
            middleware.append(wsgi.CORS(origins, authentication.varies))
        if self._config.tenancy.strategy == "path":
            middleware.append(wsgi.tenant_in_path)
        middleware.append(wsgi.Compress())
        return middleware

    def _admit(self, topic: str) -> UUID | None:
        """Return the tenant of the current identity, for its events. Raises if it may not read."""
        actions = self.registry.actions[topic]
        actions.allow("read")
        return actions.tenant()

    def _call(self, hooks: Sequence[Callable[..., object]]) -> None:
        for hook in hooks:
            self.registry.fill(hook, 0)()

    def _opened(self, conn: db.Connection, *, traced: bool) -> None:
        # Nothing interrupts a thread of our server (docs/understand/architecture.md, Threads); a
        # job's thread is interrupted by the job's time-out.
        conn.may_block = isinstance(threading.current_thread(), wsgi.ServerThread)
        if conn.may_block:
            db.limit_lock_waits(conn, self._lock_wait)
        conn.tenant_tables = self._tenant_tables
        conn.checks_tenant = self._config.env == "development"
        if traced:
            observe.trace_connection(conn)

    def _probe(self, request: wsgi.Request) -> wsgi.Response:
        """Respond with the status of server.ready_path; the admin server reports the reasons."""
        ready, _ = self.readiness()
        headers = [("Cache-Control", "no-store")]
        if ready:
            return wsgi.text_response("ready\n", headers=headers)
        return wsgi.text_response("not ready\n", 503, [*headers, ("Retry-After", "1")])
