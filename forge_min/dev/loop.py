"""The parent of development: watches the files, makes what is made of them, and keeps a process
that serves them. It loads no code of the project and has no threads, because it forks.
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

from ..app import Runtime
from ..config import load
from ..errors import ForgeError, UsageError
from ..observe import setup
from ..ops import DONE, FOLDER, MARGIN, Child, ChildProcesses, Project, has_admin, with_database
from ..wsgi import Server
from .child import STARTED, Doors, explain, live
from .overlay import State
from .problems import Problem, problems_of
from .rebuild import Made, apply_migrations, compare_schemas, make_gen, make_styles
from .watch import Changes, Watcher, required_by

# PERF: loaded once, for all: the SDK alone is half of the start of a process (tests/dev).
_LOADED = (Runtime, setup)
_ALL = Changes(*[True] * len(Changes._fields))
SITE = "code"  # the process that serves the project, and what is wrong with it
_TICK = 1.0  # seconds between looks at what no file and no process reports
_LISTED = 3  # names of changed files that a line shows
_PLACES = ("server.host", "server.port", "server.unix_socket", "admin.host", "admin.port")
_MOVED = "forge.toml names another address: that is for the next start of dev"


class Development:
    """The project at `root`, which can be imported, until Ctrl-C or SIGTERM. environ: as of the
    process. say: told each line for a person. color: whether lines may have it.

    Raises UsageError F533 outside of development and what `config.load` raises.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], say: Callable[[str], None], *, color: bool
    ) -> None:
        self._root, self._environ, self._say, self._color = root, dict(environ), say, color
        self._config = load(root, environ)
        if self._config.env != "development":
            message = f"dev is for development, and FORGE_ENV is {self._config.env}"
            raise UsageError(message, code="F533", hint="run: forge-min serve")
        self._places = [self._config[key] for key in _PLACES]  # where it listens to its end
        c = self._config
        self._children = ChildProcesses(
            c.server.shutdown_timeout + c.jobs.shutdown_timeout + MARGIN
        )
        self._secret = secrets.token_bytes(32)
        self._problems: dict[str, Made] = {}  # by what they are of, in the order shown
        self._said: set[Problem] = set()
        self._numbers = itertools.count(1)
        self._page = self._assets = self._styles = 0  # what is served, by number
        self._database = False  # it is there
        self._due = True  # the code that is served is not the newest
        self._current: Child | None = None  # who answers
        self._next: Child | None = None  # who will, once it has started
        self._began = 0.0  # when the change was seen that is loaded; 0: no change is
        self._why: Collection[str] = ()  # the files
        self._next_tick = 0.0
        self._todo: dict[str, Callable[[], Made]] = {}  # what may take its time
        self._asides: dict[str, Child] = {}  # who does it

    def run(self) -> int:
        """The exit code. Raises ServerError for an address that cannot be had, and what the
        database raises where it cannot be started.
        """
        # Beside the project's own folders: gen/ is replaced as a whole, what it compiles to stays.
        sys.pycache_prefix = str(self._root / FOLDER / "pycache")
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        with ExitStack() as stack:
            stack.callback(signal.signal, signal.SIGTERM, before)
            self._doors = self._open(stack)
            self._watcher = Watcher(self._root)
            try:
                self._take(stack, (), _ALL)
                while True:
                    self._round(stack)
            except KeyboardInterrupt:
                return DONE
            finally:
                for child in (self._next, *self._asides.values()):
                    if child is not None:
                        self._children.kill(child)  # nobody waits for it any more
                self._children.end_all()

    def _open(self, stack: ExitStack) -> Doors:
        c = self._config
        front = Server((c.server.host, c.server.port), unix_socket=c.server.unix_socket)
        stack.enter_context(front)
        self._say(f"dev: {front.url} (Ctrl-C ends it)")
        if not has_admin(c, worker=False):
            return Doors(front.socket, None)
        admin = stack.enter_context(Server((c.admin.host, c.admin.port)))
        return Doors(front.socket, admin.socket)

    # -- rounds ------------------------------------------------------------------------------------

    def _round(self, stack: ExitStack) -> None:
        """Hear what the processes report, look for changes, and do what both ask for."""
        speakers = {c.from_child: c for c in (self._next, *self._asides.values()) if c is not None}
        ready, _, _ = select.select([*speakers], [], [], self._watcher.interval)
        for fd in ready:
            child = speakers[fd]
            ended = self._children.read(child)
            if child.received == STARTED:
                self._promote(child)
            elif ended:
                self._finished(child)
        began = time.monotonic()
        if names := self._watcher.changed():
            self._began = began
            self._take(stack, names, required_by(names))
        if began > self._next_tick:
            self._next_tick = began + _TICK
            self._wait_for_somebody()
            if self._current is None and self._next is None:
                self._began, self._due = 0.0, True
                self._start()
        self._look_after()

    def _look_after(self) -> None:
        """Processes that have ended by themselves, and work that waits for its turn."""
        for child, code in self._children.reap().items():
            if child is self._current:
                self._say(f"the process has ended with {code}; another begins")
                self._current = None
            else:
                self._finished(child)
        if self._next is None and self._todo:
            for name, work in self._todo.items():
                if name in self._asides:
                    self._children.kill(self._asides.pop(name))
                self._asides[name] = self._children.fork(name, partial(_report, work))
            self._todo = {}

    def _take(self, stack: ExitStack, names: Collection[str], asked: Changes) -> None:
        """Files have changed. The first time all have."""
        stale = asked.gen
        while stale:
            self._problems["gen"] = make_gen(self._root, self._say)
            # What it has written, and what somebody saved after it had read that.
            since = self._watcher.changed()
            stale, names = required_by(since).gen, {*names, *since}
            asked = asked if asked is _ALL else required_by(names)
        if asked.config:
            self._problems["config"] = self._configure()
        for name in names:
            if name.endswith(".py"):  # what it compiled to may be of the same second and size
                Path(cache_from_source(str(self._root / name))).unlink(missing_ok=True)
        self._due = self._due or asked.code or bool(self._problems.get(SITE))
        self._why = names
        if not self._blocked():
            if not self._database:
                self._connect(stack)
                asked = asked._replace(migrations=True)
            if asked.migrations:
                self._problems["migrations"] = apply_migrations(self._project(), self._say)
            if asked.schemas or asked.migrations:
                self._todo["schemas"] = partial(compare_schemas, self._project())
        if asked.looks:
            self._todo["styles"] = partial(make_styles, self._root)
        if asked.stylesheets:
            self._styles = next(self._numbers)
        if asked.assets:
            self._assets = next(self._numbers)
        self._start()
        self._announce()

    def _wait_for_somebody(self) -> None:
        """Apply migrations again if only another command can have removed the problem: `migrate up`
        what waits for a person, `db reset` an applied file that was changed (F320).
        """
        waiting = self._problems.get("migrations", [])
        outside = all(problem.notice or problem.code == "F320" for problem in waiting)
        if waiting and outside and not self._blocked():
            self._problems["migrations"] = apply_migrations(self._project(), self._say)
            if not self._problems["migrations"]:
                self._todo["schemas"] = partial(compare_schemas, self._project())
                self._announce()

    # -- what is served ----------------------------------------------------------------------------

    def _configure(self) -> Made:
        try:
            self._config = load(self._root, self._environ)
        except ForgeError as err:
            return problems_of(err, self._root)
        moved = self._places != [self._config[key] for key in _PLACES]
        return [Problem(_MOVED, notice=True)] if moved else []

    def _connect(self, stack: ExitStack) -> None:
        """The database, once there is gen/, by which a project is known."""
        invalidate_caches()
        c = stack.enter_context(with_database(migrated=False)).config.database
        self._environ |= {"FORGE_DATABASE_URL": c.url, "FORGE_DATABASE_MIGRATE_URL": c.migrate_url}
        self._config, self._database = load(self._root, self._environ), True
        gc.collect()
        gc.freeze()  # what is loaded is shared with all that are forked

    def _project(self) -> Project:
        return Project(self._root, self._config)

    def _blocked(self) -> bool:
        """Whether what is there cannot be started."""
        wrong = (*self._problems.get("gen", ()), *self._problems.get("config", ()))
        return any(not problem.notice for problem in wrong)

    def _start(self) -> None:
        """Another process, where the code is newer than what is served; where it cannot be started
        and nobody answers, one that says why.
        """
        if self._due and not self._blocked():
            if self._next is not None:
                self._children.end(self._next)  # not killed: it may answer somebody by now
            self._due = False
            self._fork(SITE, partial(live, self._root, self._config, self._secret))
        elif self._current is None and self._next is None:
            self._fork("explanation", partial(explain, self._root, self._config))

    def _fork(self, name: str, life: Callable[..., int]) -> None:
        page = next(self._numbers)
        state = State(page, self._assets, self._styles, self._all(without=name))
        self._next = self._children.fork(name, partial(life, self._doors, state))
        self._next.page = page

    def _promote(self, child: Child) -> None:
        """It answers; the one before ends, and its pages load themselves again."""
        if child is not self._next:
            return
        before, self._current, self._next = self._current, child, None
        self._page = child.page
        if child.name == SITE:
            self._problems[SITE] = []
            if self._began:
                took = (time.monotonic() - self._began) * 1000
                self._say(f"reloaded in {took:.0f} ms: {_listed(self._why)}")
        if before is not None:
            self._children.send(before, pickle.dumps(self._state()))
            self._children.end(before)
        self._announce()

    def _finished(self, child: Child) -> None:
        """It has said all that it had to say. A second call does nothing."""
        if child is self._next:
            self._next = None
            silent = [Problem("the process ended before it had started")]
            self._problems[child.name] = _heard(child) or silent
            self._start()
        elif self._asides.get(child.name) is child:
            del self._asides[child.name]
            self._problems[child.name] = _heard(child)
        self._announce()

    # -- what is said ------------------------------------------------------------------------------

    def _all(self, *, without: str = "") -> Made:
        known = [p for name, of in self._problems.items() if name != without for p in of]
        return sorted(known, key=lambda problem: problem.notice)

    def _state(self) -> State:
        return State(self._page, self._assets, self._styles, self._all())

    def _announce(self) -> None:
        """Tell the terminal what is new, and open pages how it is now."""
        problems = self._all()
        for problem in problems:
            if problem not in self._said:
                self._say(problem.format(color=self._color))
        self._said = set(problems)
        if self._current is not None:
            self._children.send(self._current, pickle.dumps(self._state()))


def _heard(child: Child) -> Made:
    """What it has told before it ended; nothing where that is not whole."""
    try:
        return list(pickle.loads(child.received))
    except (EOFError, pickle.UnpicklingError):
        return []


def _report(work: Callable[[], Made], news: int, told: int) -> int:
    """The life of a process that does one thing."""
    os.write(told, pickle.dumps(work()))
    return DONE


def _listed(names: Collection[str]) -> str:
    shown = sorted(name for name in names if not name.startswith("gen/")) or sorted(names)
    more = len(shown) - _LISTED
    return ", ".join(shown[:_LISTED]) + (f" and {more} more" if more > 0 else "")
