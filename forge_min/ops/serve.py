"""serve and worker: the processes of a site in production, from bound ports to a clean end.

SIGTERM and SIGINT drain: readiness turns off, after server.drain_delay the port is closed, accepted
requests are answered, jobs end or are handed back, streams get a close event. A second signal ends
the delay, a third one the process.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..errors import ForgeError, Unavailable, UsageError
from ..observe import line_writer, new_handler
from ..wsgi import Server, inherited_listener
from .console import DONE, STUCK
from .health import Health, has_admin
from .project import Project

if TYPE_CHECKING:
    from ..admin import server as admin_server
    from ..app import Runtime
    from .processes import ParentChannel

log = logging.getLogger("forge_min")
_SERVER = (  # settings that are parameters of Server under the same names
    "threads", "max_body", "max_pending_bodies", "header_timeout", "body_timeout", "keepalive",
    "max_connections", "unix_socket", "trusted_proxies", "handler_timeout",
)  # fmt: skip
_ATTEMPT_INTERVAL = 1.0  # seconds between two attempts to start while the database starts, too
_POLL_INTERVAL = 0.5  # seconds between two checks for a signal that no wait noticed


class StopSignal:
    """Asks the process to end: after a signal, or because threads do not return from jobs.

    is_set: whether it has been asked to end.
    """

    def __init__(self) -> None:
        # SAFETY: no threading.Event: a signal handler could wait for its lock while the main
        # thread holds it. `put` is reentrant (Python manual, queue.SimpleQueue).
        self._calls: SimpleQueue[None] = SimpleQueue()
        self.is_set = self._stuck = False

    def set(self) -> None:
        """Ask the process to end; a second call ends its delay. A signal handler may call this."""
        self.is_set = True
        self._calls.put(None)

    def set_without_delay(self) -> None:
        """Ask the process to end without a delay."""
        self.set()
        self.set()

    def wait(self, seconds: float = inf) -> None:
        """Wait for the next call of `set`, at most `seconds`. Each call ends one wait."""
        # SAFETY: every wait is bounded: a signal that arrives after Python's last check and before
        # the system call does not interrupt it, and its handler runs only when the wait is over.
        until = time.monotonic() + seconds
        remaining = seconds
        while remaining > 0:
            try:
                self._calls.get(timeout=min(remaining, _POLL_INTERVAL))
                return
            except Empty:
                remaining = until - time.monotonic()

    def set_stuck(self) -> None:
        """End the process after handing back jobs, so that the supervisor starts another one."""
        log.error("jobs do not end after their time-out; the process exits to be started again")
        self._stuck = True
        if not self.is_set:  # a process that is already draining keeps its delay
            self.set()

    def exit_code(self) -> int:
        """Return the process's exit code. Exits at once if threads are stuck: nothing ends them."""
        if self._stuck:
            logging.shutdown()
            os._exit(STUCK)
        return DONE


@dataclass
class _Process:
    """One process of a site.

    admin: whether it has the admin server.
    admin_listener: the socket of the admin server, if a parent process has bound it.
    channel: the connection to its parent, if it has one.
    """

    project: Project
    health: Health
    admin: bool
    admin_listener: socket.socket | None = None
    channel: ParentChannel | None = None

    @contextmanager
    def until_ended(self, *, delays: bool = False) -> Iterator[tuple[ExitStack, StopSignal]]:
        """Yield the stack of what ends with the process, and the signal that it shall end."""
        lines = line_writer(sys.stderr)
        with _signals(self.channel is not None, delays) as ended, ExitStack() as stack:
            lines.start()  # not before a fork
            stack.callback(lines.stop)
            yield stack, ended

    def start(self, stack: ExitStack, ended: StopSignal, *, serving: bool) -> Runtime:
        """Start the admin server, if the process has one, and then the application.

        The admin server stops last: probes see the start and the end of the application. Raises
        SystemExit if `ended` is set while the start waits for the database.
        """
        health = self.health
        gc.disable()  # PERF: a tenth of the start; the loaded objects are frozen below.
        if self.admin:
            server = self._admin_server()
            server.start()
            stack.callback(server.stop)
        running = self._start_application(ended, serving)
        gc.freeze()
        stack.callback(running.stop)
        if self.admin:
            running.metrics.watch("forge_ready", lambda: float(health.ready()[0]))
        stack.callback(running.drain)
        health.running = running
        return running

    def _start_application(self, ended: StopSignal, serving: bool) -> Runtime:
        attempts = 0
        while True:
            try:
                return self.project.start(serving=serving)
            except Unavailable as err:
                if attempts >= err.attempts:
                    raise
                if not attempts:
                    log.warning("%s; the start waits for it", err.message)
            finally:
                gc.enable()  # also because each failed attempt leaves cycles
            attempts += 1
            ended.wait(_ATTEMPT_INTERVAL)
            if ended.is_set:
                raise SystemExit(DONE)

    def _admin_server(self) -> admin_server.AdminServer:
        from ..admin import server as admin_server

        config = self.project.config
        return admin_server.AdminServer(
            config.admin.host,
            config.admin.port,
            self.health,
            project=config.project.name,
            token=config.admin.token,
            listener=self.admin_listener,
        )

    def serve(self, settings: Mapping[str, Any], *, jobs: bool) -> int:
        """Serve requests, and run jobs, until a signal arrives; return the exit code."""
        config = self.project.config
        delay = config.server.drain_delay
        with self.until_ended(delays=delay > 0) as (stack, ended):
            server = stack.enter_context(Server(**settings))
            if self.channel is not None:
                self.channel.start(self.health, ended.set_without_delay)
            # The ports are bound first, so that a probe gets "starting" during the slow imports.
            running = self.start(stack, ended, serving=True)
            running.metrics.watch("forge_http_connections", lambda: server.connections)
            server.set_app(running.application, running.on_server_response)
            server.start()
            stack.callback(server.stop, config.server.shutdown_timeout)
            stack.callback(running.drain)
            if jobs:
                running.new_worker(config.jobs.queues, ended.set_stuck).start()
            log.info("serving on %s", server.url)
            _, reasons = running.ready()
            if "migrations" in reasons:
                log.warning("migrations are %s; run `migrate up`", reasons["migrations"])
            elif jobs:
                _warn_of_unserved(running, config.jobs.queues)
            if self.channel is not None:
                self.channel.report_started()
            ended.wait()
            if delay:
                log.info("draining; the port stays open for %g s", delay)
                running.drain()
                server.end_connections()
                ended.wait(delay)
        return ended.exit_code()


def serve_processes(
    project: Project,
    *,
    processes: int | None = None,
    jobs: bool = True,
    listener: socket.socket | None = None,
    admin_listener: socket.socket | None = None,
    channel: ParentChannel | None = None,
) -> int:
    """Serve requests until a signal arrives.

    processes: number of server processes, default: server.processes.
    jobs: also run the jobs of jobs.queues.
    listener, admin_listener: sockets that a parent process has bound.
    channel: the connection to the parent; this process ends with it.

    Raises ServerError F500 for a port in use, F508 for a supervisor's socket that cannot be served,
    ConfigError, and Unavailable if the database cannot be reached.
    """
    config = project.config
    _log_to_stderr(config)
    c = config.server
    if config.env == "production" and config.sources["server.trusted_proxies"] == "default":
        log.warning(
            "server.trusted_proxies is not set: behind a proxy all clients count as one address; "
            "set it to the proxy's address, or to [] if the site has none"
        )
    settings = {name: getattr(c, name) for name in _SERVER}
    settings["address"] = (c.host, c.port)
    settings["listener"] = listener or inherited_listener(os.environ)
    jobs = jobs and config.jobs.enabled
    count = processes or c.processes
    if count > 1:
        return _serve_many(project, settings, count, jobs)
    admin = has_admin(config, worker=False)
    process = _Process(project, Health(project.build), admin, admin_listener, channel)
    return process.serve(settings, jobs=jobs)


def serve_site(project: Project, args: argparse.Namespace) -> int:
    """Run the command `serve`."""
    return serve_processes(project, processes=args.processes, jobs=not args.no_jobs)


def work_jobs(project: Project, args: argparse.Namespace) -> int:
    """Run jobs until a signal arrives.

    args.queues: queues and their threads, such as "default=10,mail=2", default: jobs.queues.
    """
    config = project.config
    _log_to_stderr(config)
    queues = config.jobs.queues
    if args.queues is not None:
        queues = read_queues(args.queues)
    process = _Process(project, Health(project.build), has_admin(config, worker=True))
    with process.until_ended() as (stack, ended):
        running = process.start(stack, ended, serving=False)
        running.new_worker(queues, ended.set_stuck).start()
        _warn_of_unserved(running, queues)
        log.info("working the queues %s", ", ".join(f"{q}={n}" for q, n in queues.items()))
        ended.wait()
    return ended.exit_code()


def _serve_many(project: Project, settings: dict[str, Any], count: int, jobs: bool) -> int:
    """Run a parent with `count` serving processes, and one for the admin server."""
    from . import processes

    config = project.config
    gc.disable()  # PERF: as in `_Process.start`, which switches it on again in each child
    project.preload()
    gc.freeze()  # forked processes share the loaded modules
    pairs = processes.socket_pairs(count)
    memory = processes.CounterMemory()

    def serve(slot: int, from_parent: int, ready: int) -> int:
        channel = processes.ParentChannel(from_parent, ready, pairs[slot][1])
        process = _Process(project, Health(project.build), admin=False, channel=channel)
        return process.serve(settings, jobs=jobs)

    def run_admin(from_parent: int, ready: int) -> int:
        admin_ends = [admin_end for admin_end, _ in pairs]
        health = processes.SiteHealth(project.build, admin_ends, memory)
        channel = processes.ParentChannel(from_parent, ready)
        process = _Process(project, health, admin=True, channel=channel)
        with process.until_ended() as (stack, ended):
            channel.start(health, ended.set)
            process.start(stack, ended, serving=False)
            channel.report_started()
            ended.wait()
        return DONE

    # No thread writes before a fork, and a slow stream must not block the parent.
    line_writer(sys.stderr).blocks = False
    c = config.server
    with Server(**settings) as first:
        if settings["listener"] or c.unix_socket:
            settings["listener"] = first.socket
        else:
            # The bind has shown that the port is free. Each process gets its own accept queue
            # there (socket(7), SO_REUSEPORT).
            settings["address"] = (c.host, first.server_port)
            settings["reuse_port"] = True
            first.socket.close()
        mains = {}
        if config.admin.enabled:
            mains[processes.ADMIN] = run_admin
        for slot in range(count):
            mains[str(slot + 1)] = partial(serve, slot)
        patience = c.drain_delay + c.shutdown_timeout + config.jobs.shutdown_timeout
        patience += processes.MARGIN
        return processes.Supervisor(mains, patience, delays=c.drain_delay > 0).run()


def _warn_of_unserved(running: Runtime, queues: Collection[str]) -> None:
    """Warn of queues that get jobs and that neither this process nor a living worker serves."""
    with suppress(ForgeError):  # the readiness check reports a missing database
        for queue, kinds in running.unserved(queues).items():
            step = f"add it to jobs.queues, or start `worker --queues {queue}=2` (help F727)"
            message = "no worker serves the queue %s, so jobs of %s wait; %s"
            log.warning(message, queue, ", ".join(kinds), step)


def read_queues(text: str) -> Mapping[str, int]:
    """Parse "default=10,mail=2" into a mapping of queues to threads. Raises UsageError."""
    queues = {}
    for part in text.split(","):
        name, _, threads = part.strip().partition("=")
        if not name or not threads.isascii() or not threads.isdigit() or int(threads) < 1:
            message = f"--queues {text}: {part!r} is not queue=threads"
            raise UsageError(message, hint="for example default=10")
        queues[name] = int(threads)
    return queues


@contextmanager
def _signals(child: bool, delays: bool) -> Iterator[StopSignal]:
    """Yield a StopSignal that the first SIGTERM or SIGINT sets; a second one has its usual effect.

    delays: the second signal ends the delay, and the third one has its usual effect.
    child: no later signal has an effect. A supervisor may signal all processes while our parent
    signals them, too. SIGUSR1 of the parent ends the delay, and the parent kills processes that do
    not end.
    """
    ended = StopSignal()
    ends_delay = delays and not child
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, frame: Any) -> None:
        nonlocal ends_delay
        if ends_delay:
            ends_delay = False
        else:
            for handled, handler in handlers.items():
                # Not SIG_IGN: Python would report a pending signal as ignored.
                signal.signal(handled, (lambda *_: None) if child else handler)
        ended.set()

    for number in handlers:
        signal.signal(number, end)
    if child:
        signal.signal(signal.SIGUSR1, lambda *_: ended.set())
    try:
        yield ended
    finally:
        if not child:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _log_to_stderr(config: Config) -> None:
    c = config.observe
    root = logging.getLogger()
    handler = new_handler(sys.stderr, format=c.log_format, level=c.log_level, queued=False)
    root.handlers = [handler]
    root.setLevel(c.log_level.upper())
    # Python itself writes these to stderr in many lines, unmasked, and blocks if nothing reads.
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable
    for warning in config.warnings:
        log.warning("%s", warning)


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        log.error("the thread %s ended by an exception", name, exc_info=error)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    message = args.err_msg or "Exception ignored in"
    log.error("%s: %r", message, args.object, exc_info=args.exc_value)
