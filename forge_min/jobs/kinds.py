"""The kinds of jobs of an application, and the options of each kind.

A worker class has `kind` and `work(job)`. These attributes are optional:

* `args`: a dataclass
* `queue`, `priority`, `max_attempts`, `timeout` (seconds)
* `retry(job, error)`: returns the seconds until the next attempt
* `discarded(job)`: called when a job of the kind was discarded
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from ..db import Connect
from ..errors import ForgeError
from .args import reader

if TYPE_CHECKING:
    from .job import Job

Handler = Callable[["Job[Any]"], object]
Around = Callable[["Job[Any]"], AbstractContextManager[object]]
Inserted = Callable[[str, str, int], None]
_NOT_PLAIN = (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)


class Kind(NamedTuple):
    """One kind of job.

    max_attempts: None = the default of the application.
    timeout: seconds that a job may run; None = the default of the worker.
    retry: returns the seconds until the next attempt; None = a default that grows.
    discarded: called with a job that reports a discarded one.
    """

    name: str
    work: Handler | None = None
    args: type | None = None
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    timeout: float | None = None
    retry: Callable[[Job[Any], BaseException], float] | None = None
    discarded: Handler | None = None


class WorkerOptions(NamedTuple):
    """The options that all threads of a worker share. Times are seconds.

    connect: opens a connection for jobs.
    connect_by_index: opens a connection for the worker's own statements.
    kinds: by name.
    discarded_kinds: names of the kinds with `discarded`.
    queues: name → number of threads.
    around: a context manager around each run.
    prefetch: jobs that wait for each thread; more while jobs take a few milliseconds, none while
        they take 0.1 s or more.
    timeout: of a job if its kind has no limit of its own.
    poll_interval: between polls, when nothing wakes the worker.
    heartbeat: between two heartbeats.
    rescue_after: since the last heartbeat, until the worker counts as dead and loses its jobs.
    """

    id: UUID
    connect: Connect
    connect_by_index: Connect
    kinds: Mapping[str, Kind]
    discarded_kinds: list[str]
    queues: Mapping[str, int]
    around: Around = nullcontext
    prefetch: int = 1
    timeout: float = 60.0
    poll_interval: float = 1.0
    heartbeat: float = 5.0
    rescue_after: float = 30.0

    def seconds(self, job: Job) -> float:
        """Return for how many seconds the job may run."""
        timeout = self.kinds[job.kind].timeout
        if timeout is None:
            return self.timeout
        return timeout


def kind_of(worker: Any) -> Kind:
    """Return the kind of a worker class or of an instance of one.

    Raises ForgeError F723 if a field of its arguments has a type without a form in JSON, or if the
    worker has no `work` or an invalid option.
    """
    if isinstance(worker, type):
        return _kind_of_class(worker)
    return _kind(worker)


def _kind(worker: Any) -> Kind:
    options = {}
    for name in Kind._fields[2:]:
        if hasattr(worker, name):
            options[name] = getattr(worker, name)
    kind = Kind(worker.kind, getattr(worker, "work", None), **options)
    _check(kind)
    if kind.args is not None:
        try:
            reader(kind.args)
        except (TypeError, NameError, RecursionError) as err:
            raise ForgeError(
                f"the arguments of {kind.name} cannot be read from JSON: {err}",
                code="F723",
                hint="help F723 lists the types of a field; define the dataclass in a module",
            ) from None
    return kind


_kind_of_class = lru_cache(1000)(_kind)


def _check(kind: Kind) -> None:
    fault = ""
    if not callable(kind.work):
        fault = "has no work(job)"
    for name in ("work", "discarded"):
        method = getattr(kind, name)
        if any(test(method) for test in _NOT_PLAIN):
            fault = f"has a `{name}` that returns a coroutine or a generator"
    seconds = kind.timeout
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        fault = f"has a timeout of {seconds!r}, which is not a number of seconds above 0"
    if fault:
        raise ForgeError(
            f"the worker of {kind.name} {fault}",
            code="F723",
            hint="a worker has a plain method work(self, job); its thread may wait in it",
        )


def kinds_with_discarded(kinds: Mapping[str, Kind]) -> list[str]:
    """Return the names of the kinds with `discarded`, which is called for discarded jobs."""
    return [name for name, kind in kinds.items() if kind.discarded is not None]


@dataclass
class Catalogue:
    """The kinds of one application, for the code that inserts on its connections.

    `Connection.jobs` holds it.

    kinds: by name.
    max_attempts: default of jobs and kinds without a number.
    strict: whether to reject unknown kinds.
    inserted: called with (kind, queue, number of jobs) after the commit.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    max_attempts: int = 25
    strict: bool = False
    inserted: Inserted = lambda kind, queue, number: None

    def kind(self, name: str) -> Kind:
        """Return a kind by its name. Raises ForgeError F716 for an unknown one if `strict`."""
        kind = self.kinds.get(name)
        if kind is None and self.strict:
            raise ForgeError(
                f"no worker has the kind {name!r}, so its job would never run",
                code="F716",
                hint=f"kinds here: {', '.join(sorted(self.kinds)) or 'none'}; "
                "list the class in WORKERS of a jobs.py",
            )
        return kind or Kind(name)
