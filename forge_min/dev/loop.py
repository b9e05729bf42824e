"""The parent process of `dev`: watches files, regenerates, and keeps one process serving.

It loads no code of the project and has no threads, because it forks.
"""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import secrets
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from importlib import invalidate_caches
from importlib.util import cache_from_source
from pathlib import Path

from ..config import Config, load
from ..doctor import join_names
from ..errors import UsageError

# PERF: loads the SDK, half of the start of a process (tests/dev), once for all children.
from ..observe import setup  # noqa: F401
from ..ops import DONE, FOLDER, Project, health, processes, with_database
from ..ship import refresh_stylesheet
from ..wsgi import Server
from .child import STARTED, Listeners, explain, serve
from .overlay import State
from .problems import Problem
from .rebuild import Problems, Step, apply_migrations, attempt, compare_schemas, write_gen
from .watch import Changes, Watcher, required_by

_ALL = Changes(*[True] * len(Changes._fields))
CODE = "code"  # the name of the serving process and of its problems
_TICK = 1.0  # seconds between checks that no file or process triggers
_ADDRESS_KEYS = ("server.host", "server.port", "server.unix_socket", "admin.host", "admin.port")
_MOVED = "forge.toml names another address: restart dev to use it"


class Development:
    """Serves the project at `root`, which is on sys.path, until Ctrl-C or SIGTERM.

    environ: the environment of the process.
    log: prints one line.
    color: whether lines may be coloured.

    Raises UsageError F533 outside development; also as `config.load`.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], log: Callable[[str], None], *, color: bool
    ) -> None:
        self._root = root
        self._environ = dict(environ)
        self._log = log
        self._color = color
        self._config = config = load(root, environ)
        if config.env != "development":
            message = f"dev needs FORGE_ENV=development, but it is {config.env}"
            raise UsageError(message, code="F533", hint="run: forge-min serve")
        self._addresses = _addresses(config)  # fixed until it ends
        patience = config.server.shutdown_timeout + config.jobs.shutdown_timeout + processes.MARGIN
        self._children = processes.ChildProcesses(patience)
        self._secret = secrets.token_bytes(32)
        self._problems: dict[str, Problems] = {}  # by step, in the order shown
        self._reported: set[Problem] = set()
        self._numbers = itertools.count(1)
        # Numbers of the served versions.
        self._page = 0
        self._assets = 0
        self._styles = 0
        self._database = False  # whether it is available
        self._outdated = True  # whether the served code is not the newest
        self._current: processes.Child | None = None  # the serving process
        self._next: processes.Child | None = None  # its successor, which is starting
        self._changed_at = 0.0  # time of the change that is being loaded; 0: none
        self._changed_files: Collection[str] = ()  # names of its files
        self._next_tick = 0.0
        self._todo: dict[str, Step] = {}  # slow steps that wait for a process
        self._workers: dict[str, processes.Child] = {}  # the processes of slow steps

    def run(self) -> int:
        """Serve until the end. Returns the exit code.

        Raises ServerError if an address is not available, and the database's errors if it cannot be
        started.
        """
        # Outside gen/, which is replaced completely: compiled files stay.
        sys.pycache_prefix = str(self._root / FOLDER / "pycache")
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        with ExitStack() as stack:
            stack.callback(signal.signal, signal.SIGTERM, before)
            self._listeners = self._open(stack)
            self._watcher = Watcher(self._root)
            try:
                self._process_changes(stack, (), _ALL)
                while True:
                    self._round(stack)
            except KeyboardInterrupt:
                return DONE
            finally:
                for child in self._unfinished():
                    self._children.kill(child)  # its result is no longer needed
                self._children.end_all()

    def _unfinished(self) -> list[processes.Child]:
        """Return the processes that will report: the starting one, and those of slow steps."""
        children = [*self._workers.values()]
        if self._next is not None:
            children.insert(0, self._next)
        return children

    def _open(self, stack: ExitStack) -> Listeners:
        server = self._config.server
        site = Server((server.host, server.port), unix_socket=server.unix_socket)
        stack.enter_context(site)
        self._log(f"dev: {site.url} (Ctrl-C ends it)")
        if not health.has_admin(self._config, worker=False):
            return Listeners(site.socket, None)
        address = (self._config.admin.host, self._config.admin.port)
        admin = stack.enter_context(Server(address))
        return Listeners(site.socket, admin.socket)

    # -- rounds ------------------------------------------------------------------------------------

    def _round(self, stack: ExitStack) -> None:
        """Handle reports of the processes and changes of files, once."""
        children = {child.from_child: child for child in self._unfinished()}
        ready, _, _ = select.select([*children], [], [], self._watcher.interval)
        for fd in ready:
            child = children[fd]
            ended = self._children.read(child)
            if child.received == STARTED:
                self._promote(child)
            elif ended:
                self._on_end(child)
        now = time.monotonic()
        names = self._watcher.changed()
        if names:
            required = required_by(names)
            if required.gen or required.code:  # others need no new process
                self._changed_at = now
            self._process_changes(stack, names, required)
        if now > self._next_tick:
            self._next_tick = now + _TICK
            self._retry_migrations()
            if self._current is None and self._next is None:
                self._changed_at = 0.0
                self._outdated = True
                self._start()
        self._check_children()

    def _check_children(self) -> None:
        """Handle processes that ended by themselves, and start waiting steps."""
        for child, code in self._children.reap().items():
            if child is self._current:
                self._log(f"the process has ended with {code}; a new one starts")
                self._current = None
            else:
                self._on_end(child)
        if self._next is None and self._todo:
            for name, step in self._todo.items():
                if name in self._workers:
                    self._children.kill(self._workers.pop(name))
                worker = partial(_run_worker, self._root, step)
                self._workers[name] = self._children.fork(name, worker)
            self._todo = {}

    def _process_changes(self, stack: ExitStack, names: Collection[str], required: Changes) -> None:
        """Run the steps that changed files require. On the first call all files have changed."""
        stale = required.gen
        while stale:
            self._problems["gen"] = attempt(self._root, write_gen, self._root, self._log)
            # Files that it has written, and files saved after it had read them.
            since = self._watcher.changed()
            stale = required_by(since).gen
            names = {*names, *since}
            if required is not _ALL:
                required = required_by(names)
        if required.config:
            self._problems["config"] = attempt(self._root, self._configure)
        for name in names:
            if name.endswith(".py"):  # its .pyc may be of the same second and size
                Path(cache_from_source(str(self._root / name))).unlink(missing_ok=True)
        self._outdated = self._outdated or required.code or bool(self._problems.get(CODE))
        if required.code:
            self._changed_files = names
        if not self._blocked():
            if not self._database:
                self._connect(stack)
                required = required._replace(migrations=True)
            if required.migrations:
                self._apply_migrations()
            if required.schemas or required.migrations:
                self._todo["schemas"] = partial(compare_schemas, self._project())
        if required.style_sources:
            self._todo["styles"] = partial(refresh_stylesheet, self._root)
        if required.stylesheets:
            self._styles = next(self._numbers)
        if required.assets:
            self._assets = next(self._numbers)
        self._start()
        self._announce()

    def _retry_migrations(self) -> None:
        """Apply migrations again if only another command can have solved their problems.

        `migrate up` applies a file that waits for a review; `db reset` solves a changed applied
        file (F320).
        """
        problems = self._problems.get("migrations", [])
        if not problems or self._blocked():
            return
        if all(problem.notice or problem.code == "F320" for problem in problems):
            self._apply_migrations()
            if not self._problems["migrations"]:
                self._todo["schemas"] = partial(compare_schemas, self._project())
                self._announce()

    def _apply_migrations(self) -> None:
        problems = attempt(self._root, apply_migrations, self._project(), self._log)
        self._problems["migrations"] = problems

    # -- the serving process -----------------------------------------------------------------------

    def _configure(self) -> Problems:
        self._config = load(self._root, self._environ)
        if _addresses(self._config) == self._addresses:
            return []
        return [Problem(_MOVED, notice=True)]

    def _connect(self, stack: ExitStack) -> None:
        """Start or find the database; needs gen/, by which a project is recognized."""
        invalidate_caches()
        c = stack.enter_context(with_database(migrated=False)).config.database
        self._environ |= {"FORGE_DATABASE_URL": c.url, "FORGE_DATABASE_MIGRATE_URL": c.migrate_url}
        self._config = load(self._root, self._environ)
        self._database = True
        gc.collect()
        gc.freeze()  # loaded objects stay shared with the forked processes

    def _project(self) -> Project:
        return Project(self._root, self._config)

    def _blocked(self) -> bool:
        """Whether errors in gen/ or the configuration prevent a start."""
        problems = (*self._problems.get("gen", ()), *self._problems.get("config", ()))
        return any(not problem.notice for problem in problems)

    def _start(self) -> None:
        """Start a process for newer code, or one that shows the errors if no process serves."""
        if self._outdated and not self._blocked():
            if self._next is not None:
                self._children.end(self._next)  # not killed: it may be serving requests already
            self._outdated = False
            self._fork(CODE, partial(serve, self._project(), self._secret))
        elif self._current is None and self._next is None:
            self._fork("explanation", partial(explain, self._root, self._config))

    def _fork(self, name: str, run: Callable[..., int]) -> None:
        page = next(self._numbers)
        state = State(page, self._assets, self._styles, self._all_problems(without=name))
        self._next = self._children.fork(name, partial(run, self._listeners, state))
        self._next.page = page

    def _promote(self, child: processes.Child) -> None:
        """Make a started process the serving one. Its predecessor ends, and open pages reload."""
        predecessor = self._current
        self._current = child
        self._next = None
        self._page = child.page
        if child.name == CODE:
            self._problems[CODE] = []
            if self._changed_at:
                duration = (time.monotonic() - self._changed_at) * 1000
                files = [name for name in self._changed_files if not name.startswith("gen/")]
                names = join_names(sorted(files or self._changed_files), most=3)
                self._log(f"reloaded in {duration:.0f} ms: {names}")
        if predecessor is not None:
            self._children.send(predecessor, pickle.dumps(self._state()))
            self._children.end(predecessor)
        self._announce()

    def _on_end(self, child: processes.Child) -> None:
        """Take the problems that a process reported before it ended. Idempotent."""
        if child is self._next:
            self._next = None
            problems = _reported_problems(child)
            if not problems:
                problems.append(Problem("the process ended before it had started"))
            self._problems[child.name] = problems
            self._start()
        elif self._workers.get(child.name) is child:
            del self._workers[child.name]
            self._problems[child.name] = _reported_problems(child)
        self._announce()

    # -- problems ----------------------------------------------------------------------------------

    def _all_problems(self, *, without: str = "") -> Problems:
        all_problems = []
        for name, problems in self._problems.items():
            if name != without:
                all_problems += problems
        all_problems.sort(key=lambda problem: problem.notice)
        return all_problems

    def _state(self) -> State:
        return State(self._page, self._assets, self._styles, self._all_problems())

    def _announce(self) -> None:
        """Log new problems, and send the state to open pages."""
        problems = self._all_problems()
        for problem in problems:
            if problem not in self._reported:
                self._log(problem.format(color=self._color))
        self._reported = set(problems)
        if self._current is not None:
            self._children.send(self._current, pickle.dumps(self._state()))


def _addresses(config: Config) -> list[object]:
    return [config[key] for key in _ADDRESS_KEYS]


def _reported_problems(child: processes.Child) -> Problems:
    """Return the problems that a process reported; [] for an incomplete report."""
    try:
        return list(pickle.loads(child.received))
    except (EOFError, pickle.UnpicklingError):
        return []


def _run_worker(root: Path, step: Step, states: int, report_to: int) -> int:
    """Run one step in its own process, and report its problems."""
    os.write(report_to, pickle.dumps(attempt(root, step)))
    return DONE
