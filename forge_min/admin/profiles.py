"""The routes of /debug/pprof/: they parse the query, inspect processes, and format the replies.

Costly inspections run one at a time, so that the other threads of the admin server stay free.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from ..errors import BadRequest
from ..lazy import lazy_pattern
from ..observe import Inspection, Wait, format_collapsed, merge_profiles
from ..wsgi import Handler, HTTPProblem, Request, Response, first, preferred, text_response
from .inspection import ProcessInspector, Replies

PATH = "/debug/pprof/"
_NUMBER = lazy_pattern(r"[0-9]{1,5}(\.[0-9]{1,3})?")

Query = Mapping[str, Sequence[str]]


class Profiles:
    """The handlers of /debug/pprof/.

    inspector: the processes to inspect.
    wait: ends a profile early when the server stops; as in `Inspector.inspect`.
    """

    def __init__(self, inspector: ProcessInspector, wait: Wait) -> None:
        self._inspector = inspector
        self._wait = wait
        self._lock = threading.Lock()  # LOCK: held during a costly inspection
        self._until = 0.0

    def routes(self) -> dict[str, Handler]:
        """Return the handlers by method and path."""
        return {
            f"GET {PATH}threads": self._threads,
            f"GET {PATH}profile": self._profile,
            f"GET {PATH}heap": self._heap,
            f"POST {PATH}heap": self._heap_tracing,
            f"GET {PATH}gc": self._gc,
        }

    def _threads(self, request: Request) -> Response:
        names = self._selected(request.query)
        replies = self._inspect(names, Inspection("threads"))
        parts = [f"process {name} (pid {r.pid})\n\n{r.result}" for name, r in replies.items()]
        parts += [f"{line}\n" for line in missing_lines(names, replies)]
        return text_response("\n".join(parts))

    def _profile(self, request: Request) -> Response:
        query = request.query
        seconds = _number(query, "seconds", 10, 0.1, 120)
        hz = _number(query, "hz", 100, 1, 1000)
        if hz != int(hz):
            raise BadRequest("hz must be a whole number")
        clock = first(query, "clock") or "cpu"
        if clock not in ("cpu", "wall"):
            raise BadRequest(f"clock must be cpu or wall, not {clock[:40]!r}")
        names = self._selected(query)
        options = {"seconds": seconds, "hz": int(hz), "clock": clock}
        replies = self._inspect_alone(names, Inspection("profile", options))
        return _profile_response(names, replies)

    def _heap(self, request: Request) -> Response:
        query = request.query
        seconds = _number(query, "seconds", 0.0, 0.1, 120)
        inspection = Inspection("heap", {"seconds": seconds, "top": _top(query)})
        return self._listed(query, request, inspection)

    def _heap_tracing(self, request: Request) -> Response:
        action = first(request.form(), "action")
        if action not in ("start", "stop"):
            raise BadRequest(f"action must be start or stop, not {action[:40]!r}")
        inspection = Inspection("trace", {"on": action == "start"})
        return self._listed(request.form(), request, inspection)

    def _gc(self, request: Request) -> Response:
        inspection = Inspection("gc", {"top": _top(request.query)})
        return self._listed(request.query, request, inspection)

    def _listed(self, query: Query, request: Request, inspection: Inspection) -> Response:
        """Return the replies as text, or as JSON if the client prefers it."""
        names = self._selected(query)
        replies = self._inspect_alone(names, inspection)
        missing = [name for name in names if name not in replies]
        if preferred(request, ("text/plain", "application/json")) == "application/json":
            rows = [{"process": name, "pid": r.pid, **r.result} for name, r in replies.items()]
            content: dict[str, Any] = {"processes": rows}
            if missing:
                content["no_answer"] = missing
            body = json.dumps(content, default=str).encode()
            return Response(200, body, [("Content-Type", "application/json")])
        parts = []
        for name, reply in replies.items():
            head = f"process {name} (pid {reply.pid})"
            parts.append("\n".join([head, *_lines(reply.result)]))
        parts += missing_lines(names, replies)
        return text_response("\n\n".join(parts) + "\n")

    def _inspect(self, names: Sequence[str], inspection: Inspection) -> Replies:
        """Return the replies by process. Raises HTTPProblem 503 if no process replies."""
        replies = self._inspector.inspect(names, inspection, self._wait)
        if not replies:
            raise _unavailable(f"no answer from: {', '.join(names)}", 5)
        return replies

    def _selected(self, query: Query) -> Sequence[str]:
        """Return the processes that a query selects. Raises BadRequest for an unknown one."""
        name = first(query, "process")
        if name in ("", "all"):
            return self._inspector.serving()
        names = self._inspector.names()
        if name not in names:
            known = ", ".join([*names, "all"])
            raise BadRequest(f"process {name[:40]!r} not found; choose one of: {known}")
        return [name]

    def _inspect_alone(self, names: Sequence[str], inspection: Inspection) -> Replies:
        """Run one costly inspection at a time. Raises HTTPProblem 503 during another one."""
        if not self._lock.acquire(blocking=False):
            seconds = max(1, ceil(self._until - time.monotonic()))
            message = f"another profile is running, one at a time; try again in {seconds} s"
            raise _unavailable(message, seconds)
        self._until = time.monotonic() + inspection.options.get("seconds", 0)
        try:
            return self._inspect(names, inspection)
        finally:
            self._lock.release()


def _number(query: Query, name: str, default: float, least: float, most: float) -> float:
    text = first(query, name)
    if not text:
        return default
    if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
        raise BadRequest(f"{name} must be a number from {least:g} to {most:g}, not {text[:40]!r}")
    return float(text)


def _top(query: Query) -> int:
    return int(_number(query, "top", 30, 1, 1000))


def _profile_response(names: Sequence[str], replies: Replies) -> Response:
    """Return collapsed stacks."""
    profiles = {name: reply.result for name, reply in replies.items()}
    profile = next(iter(profiles.values()))
    if len(profiles) > 1:
        profile = merge_profiles(profiles)
    profiled = [f"process {name}; pid={reply.pid}" for name, reply in replies.items()]
    profiled += missing_lines(names, replies)
    headers = [("X-Profiled", ", ".join(profiled))]
    return text_response(format_collapsed(profile), headers=headers)


def _unavailable(message: str, seconds: int) -> HTTPProblem:
    return HTTPProblem(503, message, headers=[("Retry-After", str(seconds))])


# -- text for a terminal ---------------------------------------------------------------------------


def missing_lines(names: Sequence[str], replies: Replies) -> list[str]:
    """Return a line for each process without a reply."""
    return [f"process {name}: no answer" for name in names if name not in replies]


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value of a result; a list is a table below its name and columns."""
    for name, value in result.items():
        if isinstance(value, list):
            columns = ", ".join(value[0]) if value else "none"
            yield f"\n{name}: {columns}"
            for row in value:
                yield "  ".join(map(_cell, row.values()))
        else:
            yield f"{name:20} {_cell(value):>14}"


def _cell(value: object) -> str:
    if type(value) is int:
        return f"{value:14,}"
    return str(value)
