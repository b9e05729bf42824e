"""The routes of /debug/pprof/: which question a query is, and how its answer looks.

What costs is asked one at a time: of the two threads that answer, one stays free.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

from ..errors import BadRequest
from ..lazy import lazy_pattern
from ..observe import Inspection, Profile, Wait, flame_graph, format_collapsed, merge_profiles
from ..wsgi import Handler, HTTPProblem, Request, Response, first, preferred, text_response
from .inspection import ProcessInspector, Reply

PATH = "/debug/pprof/"
_NUMBER = lazy_pattern(r"[0-9]{1,5}(\.[0-9]{1,3})?")
_CLOCKS = ("cpu", "wall")

Query = Mapping[str, Sequence[str]]


class Profiles:
    """wait: what ends a profile before its time; as of `Inspector.ask`."""

    def __init__(self, inside: ProcessInspector, wait: Wait) -> None:
        self._inside, self._wait = inside, wait
        self._turn = threading.Lock()  # LOCK: held while somebody's question is answered that costs
        self._until = 0.0

    def routes(self) -> dict[str, Handler]:
        """By method and path."""
        return {
            f"GET {PATH}threads": self._threads,
            f"GET {PATH}profile": self._profile,
            f"GET {PATH}heap": self._heap,
            f"POST {PATH}heap": self._trace,
            f"GET {PATH}gc": self._gc,
        }

    def _threads(self, request: Request) -> Response:
        names = self._asked(request.query)
        told = self._answers(names, Inspection("threads"))
        if len(self._inside.names()) == 1:
            return text_response(next(iter(told.values())).answer)
        parts = [f"{_head(name, of.pid)}\n\n{of.answer}" for name, of in told.items()]
        return text_response("\n".join([*parts, *(f"{line}\n" for line in silent(names, told))]))

    def _profile(self, request: Request) -> Response:
        query = request.query
        seconds, hz = _number(query, "seconds", 10, 0.1, 120), _number(query, "hz", 100, 1, 1000)
        if hz != int(hz):
            raise BadRequest("hz must be a whole number")
        clock = first(query, "clock") or "cpu"
        if clock not in _CLOCKS:
            raise BadRequest(f"clock must be cpu or wall, not {clock[:40]!r}")
        names = self._asked(query)
        options = {"seconds": seconds, "hz": int(hz), "clock": clock}
        with self._my_turn(seconds):
            told = self._answers(names, Inspection("profile", options))
        return _shown(names, told, request)

    def _heap(self, request: Request) -> Response:
        query = request.query
        seconds = _number(query, "seconds", 0, 0.1, 120) if first(query, "seconds") else 0.0
        question = Inspection("heap", {"seconds": seconds, "top": _top(query)})
        return self._listed(query, request, question, _heap_lines, seconds)

    def _trace(self, request: Request) -> Response:
        action = first(request.form(), "action")
        if action not in ("start", "stop"):
            raise BadRequest(f"action must be start or stop, not {action[:40]!r}")
        question = Inspection("trace", {"on": action == "start"})
        return self._listed(request.form(), request, question, _trace_lines, 0.0)

    def _gc(self, request: Request) -> Response:
        question = Inspection("gc", {"top": _top(request.query)})
        return self._listed(request.query, request, question, _gc_lines, 0.0)

    def _listed(
        self, query: Query, request: Request, question: Inspection, lines: Any, seconds: float
    ) -> Response:
        """The answers as text, or as JSON where that is asked for."""
        names = self._asked(query)
        with self._my_turn(seconds):
            told = self._answers(names, question)
        if preferred(request, ("text/plain", "application/json")) == "application/json":
            rows = [{"process": n, "pid": of.pid, **of.answer} for n, of in told.items()]
            lost = [name for name in names if name not in told]
            found = {"processes": rows, **({"no_answer": lost} if lost else {})}
            body = json.dumps(found, default=str).encode()
            return Response(200, body, [("Content-Type", "application/json")])
        parts = ["\n".join([_head(n, of.pid), *lines(of.answer)]) for n, of in told.items()]
        return text_response("\n\n".join([*parts, *silent(names, told)]) + "\n")

    def _answers(self, names: Sequence[str], question: Inspection) -> Mapping[str, Reply]:
        """By process. Raises HTTPProblem 503 if none answers."""
        told = self._inside.ask(names, question, self._wait)
        if not told:
            raise _later(f"no answer from: {', '.join(names)}", 5)
        return told

    def _asked(self, query: Query) -> Sequence[str]:
        """The processes that a query is about."""
        wanted, names = first(query, "process"), self._inside.names()
        if wanted in ("", "all"):
            return self._inside.serving()
        if wanted not in names:
            known = ", ".join([*names, "all"])
            raise BadRequest(f"there is no process {wanted[:40]!r} here, but: {known}")
        return [wanted]

    @contextmanager
    def _my_turn(self, seconds: float) -> Iterator[None]:
        """Raises HTTPProblem 503 while somebody else's question that costs is answered."""
        if not self._turn.acquire(blocking=False):
            left = max(1, ceil(self._until - time.monotonic()))
            raise _later("another profile is being taken; one at a time", left)
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._turn.release()


def _number(query: Query, name: str, default: float, least: float, most: float) -> float:
    given = first(query, name)
    if not given:
        return default
    if not _NUMBER.fullmatch(given) or not least <= float(given) <= most:
        raise BadRequest(f"{name} must be a number from {least:g} to {most:g}, not {given[:40]!r}")
    return float(given)


def _top(query: Query) -> int:
    return int(_number(query, "top", 30, 1, 1000))


def _shown(names: Sequence[str], told: Mapping[str, Reply], request: Request) -> Response:
    """Collapsed stacks, or a picture for who likes that as much as a browser does."""
    profiles: dict[str, Profile] = {name: of.answer for name, of in told.items()}
    profile = merge_profiles(profiles) if len(profiles) > 1 else next(iter(profiles.values()))
    of_whom = [f"process {n}; pid={of.pid}" for n, of in told.items()]
    headers = [("X-Profiled", ", ".join([*of_whom, *silent(names, told)]))]
    if preferred(request, ("text/plain", "image/svg+xml", "text/html")) == "text/plain":
        return text_response(format_collapsed(profile), headers=headers)
    title = " and ".join(f"process {name} (pid {of.pid})" for name, of in told.items())
    headers.append(("Content-Type", "image/svg+xml"))
    return Response(200, flame_graph(profile, title).encode(), headers)


def _later(message: str, seconds: int) -> HTTPProblem:
    return HTTPProblem(503, message, headers=[("Retry-After", str(seconds))])


# -- text for a terminal ---------------------------------------------------------------------------


def _head(name: str, pid: int) -> str:
    """Which process what follows is of."""
    return f"process {name} (pid {pid})"


def silent(names: Sequence[str], answers: Mapping[str, Reply]) -> list[str]:
    """A line for each process that was asked and has not answered."""
    return [f"process {name}: no answer" for name in names if name not in answers]


def _trace_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Of "trace"."""
    yield f"heap tracing is {'on' if answer['tracing'] else 'off'}"


def _heap_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Of "heap"."""
    if "top" not in answer:
        yield f"{answer['allocated_blocks']} blocks are allocated; where is not traced"
        yield "?seconds=5 traces for so long; POST action=start traces until action=stop"
        return
    yield (
        f"{_bytes(answer['traced_bytes'])} traced, {_bytes(answer['traced_peak_bytes'])} at most;"
        f" tracing costs {_bytes(answer['tracing_costs_bytes'])}"
    )
    if "changed" in answer:
        yield f"\nchanged in the last {answer['changed_in_seconds']:g} s"
        yield from _sizes(answer["changed"], signed=True)
    yield "\nheld now"
    yield from _sizes(answer["top"])


def _sizes(rows: Sequence[Mapping[str, Any]], signed: bool = False) -> Iterator[str]:
    sign = "+" if signed else ""
    for row in rows:
        yield f"{row['bytes']:{sign}14,} B {row['blocks']:{sign}9,} blocks  {row['where']}"


def _gc_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Of "gc"."""
    state = "on" if answer["enabled"] else "off"
    yield f"{state}; thresholds {answer['thresholds']}, counts {answer['counts']}"
    for number, row in enumerate(answer["generations"]):
        yield f"generation {number}: " + ", ".join(f"{n} {v}" for n, v in row.items())
    yield ", ".join(f"{n} {answer[n]:,}" for n in ("objects", "frozen", "uncollectable"))
    yield "" if answer["counted_every"] == 1 else f"\nof every {answer['counted_every']}th object:"
    for row in answer["types"]:
        yield f"{row['objects']:12,}  {row['type']}"


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"
