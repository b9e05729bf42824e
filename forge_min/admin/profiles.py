"""The routes of /debug/pprof/: which question a query is, and how its answer looks.

What costs is asked one at a time: of the two threads that answer, one stays free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

from ..errors import BadRequest
from ..expression import expression
from ..observe.profiles import Profile, Question, Wait, collapsed, flame_graph, merged
from ..wsgi.request import first
from .answer import SVG, Answer, Routes, json_text, preferred, reads, text
from .inside import Inside, Told
from .listing import gc_lines, head, heap_lines, silent, trace_lines

PATH = "/debug/pprof/"
_NUMBER = expression(r"[0-9]{1,5}(\.[0-9]{1,3})?")
_CLOCKS = ("cpu", "wall")

Query = Mapping[str, Sequence[str]]


class Profiles:
    """wait: what ends a profile before its time; as of `Inspector.ask`."""

    def __init__(self, inside: Inside, wait: Wait) -> None:
        self._inside, self._wait = inside, wait
        self._turn = threading.Lock()  # LOCK: held while somebody's question is answered that costs
        self._until = 0.0

    def routes(self) -> Routes:
        """HEAD is for what costs nothing."""
        return {
            f"{PATH}threads": reads(self._threads),
            f"{PATH}profile": {"GET": self._profile},
            f"{PATH}heap": {"GET": self._heap, "POST": self._trace},
            f"{PATH}gc": {"GET": self._gc},
        }

    def _threads(self, query: Query, accept: str) -> Answer:
        names = self._asked(query)
        told = self._inside.ask(names, Question("threads"), self._wait)
        if not told:
            return _no_answer(names)
        if len(self._inside.names()) == 1:
            return text(next(iter(told.values())).answer)
        parts = [f"{head(name, of.pid)}\n\n{of.answer}" for name, of in told.items()]
        return text("\n".join([*parts, *(f"{line}\n" for line in silent(names, told))]))

    def _profile(self, query: Query, accept: str) -> Answer:
        seconds, hz = _number(query, "seconds", 10, 0.1, 120), _number(query, "hz", 100, 1, 1000)
        if hz != int(hz):
            raise BadRequest("hz must be a whole number")
        clock = first(query, "clock") or "cpu"
        if clock not in _CLOCKS:
            raise BadRequest(f"clock must be cpu or wall, not {clock[:40]!r}")
        names = self._asked(query)
        options = {"seconds": seconds, "hz": int(hz), "clock": clock}
        with self._my_turn(seconds) as mine:
            if not mine:
                return self._busy()
            told = self._inside.ask(names, Question("profile", options), self._wait)
        return _shown(names, told, accept) if told else _no_answer(names)

    def _heap(self, query: Query, accept: str) -> Answer:
        seconds = _number(query, "seconds", 0, 0.1, 120) if first(query, "seconds") else 0.0
        question = Question("heap", {"seconds": seconds, "top": _top(query)})
        return self._listed(query, accept, question, heap_lines, seconds)

    def _trace(self, form: Query, accept: str) -> Answer:
        action = first(form, "action")
        if action not in ("start", "stop"):
            raise BadRequest(f"action must be start or stop, not {action[:40]!r}")
        question = Question("trace", {"on": action == "start"})
        return self._listed(form, accept, question, trace_lines, 0.0)

    def _gc(self, query: Query, accept: str) -> Answer:
        question = Question("gc", {"top": _top(query)})
        return self._listed(query, accept, question, gc_lines, 0.0)

    def _listed(
        self, query: Query, accept: str, question: Question, lines: Any, seconds: float
    ) -> Answer:
        """The answers as text, or as JSON where that is asked for."""
        names = self._asked(query)
        with self._my_turn(seconds) as mine:
            if not mine:
                return self._busy()
            told = self._inside.ask(names, question, self._wait)
        if not told:
            return _no_answer(names)
        if preferred(accept, ("text/plain", "application/json")) == "application/json":
            rows = [{"process": n, "pid": of.pid, **of.answer} for n, of in told.items()]
            lost = [name for name in names if name not in told]
            return json_text({"processes": rows, **({"no_answer": lost} if lost else {})})
        parts = ["\n".join([head(n, of.pid), *lines(of.answer)]) for n, of in told.items()]
        return text("\n\n".join([*parts, *silent(names, told)]) + "\n")

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
    def _my_turn(self, seconds: float) -> Iterator[bool]:
        """Whether nobody else's question that costs is answered now; then ours is."""
        mine = self._turn.acquire(blocking=False)
        if mine:
            self._until = time.monotonic() + seconds
        try:
            yield mine
        finally:
            if mine:
                self._turn.release()

    def _busy(self) -> Answer:
        left = max(1, ceil(self._until - time.monotonic()))
        answer = text("another profile is being taken; one at a time\n", "503 Service Unavailable")
        return answer._replace(headers=[("Retry-After", str(left))])


def _number(query: Query, name: str, default: float, least: float, most: float) -> float:
    given = first(query, name)
    if not given:
        return default
    if not _NUMBER.fullmatch(given) or not least <= float(given) <= most:
        raise BadRequest(f"{name} must be a number from {least:g} to {most:g}, not {given[:40]!r}")
    return float(given)


def _top(query: Query) -> int:
    return int(_number(query, "top", 30, 1, 1000))


def _shown(names: Sequence[str], told: Mapping[str, Told], accept: str) -> Answer:
    """Collapsed stacks, or a picture for who likes that as much as a browser does."""
    profiles: dict[str, Profile] = {name: of.answer for name, of in told.items()}
    profile = merged(profiles) if len(profiles) > 1 else next(iter(profiles.values()))
    of_whom = [f"process {n}; pid={of.pid}" for n, of in told.items()]
    headers = [("X-Profiled", ", ".join([*of_whom, *silent(names, told)]))]
    if preferred(accept, ("text/plain", SVG, "text/html")) == "text/plain":
        return text(collapsed(profile))._replace(headers=headers)
    title = " and ".join(f"process {name} (pid {of.pid})" for name, of in told.items())
    return Answer("200 OK", SVG, flame_graph(profile, title).encode(), headers)


def _no_answer(names: Sequence[str]) -> Answer:
    said = f"no answer from: {', '.join(names)}\n"
    answer = text(said, "503 Service Unavailable")
    return answer._replace(headers=[("Retry-After", "5")])
