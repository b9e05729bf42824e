"""What an application knows of each kind of job: who works it, and what holds for all of its jobs.

A worker is a class with `kind` and `work(job)`. It may say more, each under its own name: `args`
(a dataclass), `queue`, `priority`, `max_attempts`, `timeout` (seconds), `retry(job, error)` →
seconds until the next attempt, `discarded(job)`, called once a job of the kind is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from ..db import Connection
from ..errors import ForgeError
from .args import reader

if TYPE_CHECKING:
    from .job import Job

Handler = Callable[["Job[Any]"], object]
Around = Callable[["Job[Any]"], AbstractContextManager[object]]
Inserted = Callable[[str, str, int], None]
_DO_NOT_RUN = (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)
_NAMES = ("args", "queue", "priority", "max_attempts", "timeout", "retry", "discarded")


class Kind(NamedTuple):
    """One kind of job. timeout: seconds; None = the worker's, as max_attempts None = the
    application's.
    """

    name: str
    work: Handler | None = None
    args: type[Any] | None = None
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    timeout: float | None = None
    retry: Callable[[Job[Any], BaseException], float] | None = None
    discarded: Handler | None = None


class WorkerOptions(NamedTuple):
    """How a worker runs its jobs, for all of its threads. Times are seconds.

    connect: opens a connection for jobs; connect_by_index: one for the worker's own statements.
    discarded_kinds: those with `discarded`. queues: name → threads. around: as of `jobs.Worker`.
    prefetch: jobs that wait per thread. timeout: of a job, if its kind has none. heartbeat: between
    two of them. rescue_after: since the last one, until the worker counts as dead.
    """

    id: UUID
    connect: Callable[[], Connection]
    connect_by_index: Callable[[], Connection]
    kinds: Mapping[str, Kind]
    discarded_kinds: list[str]
    queues: Mapping[str, int]
    around: Around
    prefetch: int
    timeout: float
    poll_interval: float
    heartbeat: float
    rescue_after: float

    def seconds(self, job: Job) -> float:
        """Return how long the job may run."""
        own = self.kinds[job.kind].timeout
        return self.timeout if own is None else own


def kind_of(worker: Any) -> Kind:
    """What a worker, an instance or its class, says of its kind.

    Raises ForgeError F717 for arguments of a type that JSON has no word for, F723 for a worker that
    cannot work.
    """
    return _kind_of_class(worker) if isinstance(worker, type) else _kind(worker)


def _kind(worker: Any) -> Kind:
    said = {name: getattr(worker, name) for name in _NAMES if hasattr(worker, name)}
    kind = Kind(worker.kind, getattr(worker, "work", None), **said)
    _check(kind)
    if kind.args is not None:
        try:
            reader(kind.args)
        except (TypeError, NameError, RecursionError) as err:
            raise ForgeError(
                f"the arguments of {kind.name} cannot be read from JSON: {err}",
                code="F717",
                hint="help F717 lists what a field may be; a module defines the dataclass",
            ) from None
    return kind


_kind_of_class = lru_cache(1000)(_kind)


def _check(kind: Kind) -> None:
    wrong = None
    for name, call in (("work", kind.work), ("discarded", kind.discarded)):
        if name == "work" and not callable(call):
            wrong = "has no work(job)"
        elif any(test(call) for test in _DO_NOT_RUN):
            wrong = f"has a `{name}` that gives back something to be awaited or iterated"
    seconds = kind.timeout
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        wrong = f"has a timeout of {seconds!r}, which is no number of seconds above 0"
    if wrong:
        raise ForgeError(
            f"the worker of {kind.name} {wrong}",
            code="F723",
            hint="a worker has a plain method work(self, job); its thread may wait in it",
        )


def kinds_with_discarded(kinds: Mapping[str, Kind]) -> list[str]:
    """The kinds whose worker wants to be told of a job that is given up."""
    return [name for name, kind in kinds.items() if kind.discarded is not None]


class Catalogue:
    """The kinds of one application, for whoever inserts on its connections (`Connection.jobs`).

    kinds: by name. max_attempts: where nothing else is said. strict: refuse a kind that is not
    here. inserted: told (kind, queue, how many) after the commit.
    """

    def __init__(
        self,
        kinds: Iterable[Kind] = (),
        *,
        max_attempts: int = 25,
        strict: bool = False,
        inserted: Inserted | None = None,
    ) -> None:
        self.kinds: Mapping[str, Kind] = {kind.name: kind for kind in kinds}
        self.max_attempts = max_attempts
        self.strict = strict
        self.inserted = inserted

    def kind(self, name: str) -> Kind:
        """What is known of a kind. Raises ForgeError F716 where unknown ones are refused."""
        known = self.kinds.get(name)
        if known is None and self.strict:
            raise ForgeError(
                f"no worker has the kind {name!r}, so its job would wait for ever",
                code="F716",
                hint=f"kinds here: {', '.join(sorted(self.kinds)) or 'none'}; "
                "list the class in WORKERS of a jobs.py",
            )
        return known or Kind(name)
