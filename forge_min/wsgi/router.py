"""From a method and a path to a handler: a dict for fixed paths, regular expressions for the
others, looked up by the text before their first parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ..errors import NotFound, ServerError
from ..i18n import text
from ..lazy import lazy_pattern
from .problem import MethodNotAllowed
from .request import Request
from .response import Response

Handler = Callable[[Request], Response]
"""Answers one request, or raises an error of `errors` or an HTTPProblem."""

Middleware = Callable[[Request, Handler], Response]
"""Stands around the router: may answer itself, or call the handler and change its answer."""

_new = tuple.__new__
_PARAM = lazy_pattern(r"\{([a-z_][a-z0-9_]*)(\.\.\.)?\}")
_METHOD = lazy_pattern(r"[A-Z]+")


class Match(NamedTuple):
    """What a path led to. pattern: as it was added. params: decoded values by name."""

    handler: Handler
    params: dict[str, str]
    pattern: str


class Route(NamedTuple):
    """One declared route. name: free text of the caller, "" when none was given."""

    method: str
    pattern: str
    handler: Handler
    name: str


Methods = dict[str, tuple[Route, tuple[str, ...]]]
"""By method: the route and the names of its parameters."""

_LITERAL, _PARAMETER, _REST = range(3)
_EXPRESSIONS = {_PARAMETER: "([^/]+)", _REST: "(.*)"}


class _Shape(NamedTuple):
    """All patterns that match the same paths. kinds: of the segments; the lower the better."""

    kinds: tuple[int, ...]
    source: str
    matches: re.Pattern[str]
    methods: Methods


def _wrong(pattern: str, why: str) -> ServerError:
    return ServerError(f"route {pattern!r}: {why}", code="F505")


def _segments(pattern: str) -> list[tuple[int, str]]:
    """(kind, literal text or parameter's name) of each segment. Raises ServerError."""
    if not pattern.startswith("/"):
        raise _wrong(pattern, "a pattern starts with /")
    out: list[tuple[int, str]] = []
    for part in pattern[1:].split("/"):
        found = _PARAM.fullmatch(part)
        if found:
            out.append((_REST if found[2] else _PARAMETER, found[1]))
        elif "{" in part or "}" in part:
            raise _wrong(pattern, "a parameter is one whole segment, {name} or {name...}")
        else:
            out.append((_LITERAL, part))
    if any(kind == _REST for kind, _ in out[:-1]):
        raise _wrong(pattern, "{name...} stands only at the end")
    return out


def _source(segments: list[tuple[int, str]]) -> str:
    """The regular expression of all that these segments match."""
    return "/" + "/".join(_EXPRESSIONS.get(kind) or re.escape(part) for kind, part in segments)


class Router:
    """The table of routes. Filled before the server starts, read by all threads afterwards.

    Patterns: "/flights/{id}"; "{path...}" at the end takes all that is left. A literal segment wins
    over a parameter. HEAD is answered by GET; OPTIONS by a 204 with Allow unless a route takes it.
    """

    def __init__(self) -> None:
        self._fixed: dict[str, Methods] = {}
        self._shapes: dict[str, list[_Shape]] = {}
        self._longest = 0
        self._routes: list[Route] = []

    def add(self, method: str, pattern: str, handler: Handler, *, name: str = "") -> None:
        """Declare a route. Raises ServerError (F505) for a wrong or a repeated one."""
        if not _METHOD.fullmatch(method):
            raise _wrong(pattern, f"{method!r} is no method in capitals")
        segments = _segments(pattern)
        names = tuple(name for kind, name in segments if kind != _LITERAL)
        if len(set(names)) < len(names):
            raise _wrong(pattern, "a parameter is named twice")
        route = Route(method, pattern, handler, name)
        methods = self._shape(pattern, segments) if names else self._fixed.setdefault(pattern, {})
        if method in methods:
            raise _wrong(pattern, f"{method} is declared twice")
        methods[method] = (route, names)
        self._routes.append(route)

    def _shape(self, pattern: str, segments: list[tuple[int, str]]) -> Methods:
        """The methods of this shape, which is put into its place when it is new."""
        source = _source(segments)
        start = pattern[: pattern.index("{")]
        self._longest = max(self._longest, len(start))
        shapes = self._shapes.setdefault(start, [])
        for shape in shapes:
            if shape.source == source:
                return shape.methods
        kinds = tuple(kind for kind, _ in segments)
        new = _Shape(kinds, source, lazy_pattern(source, re.DOTALL), {})
        shapes.append(new)
        shapes.sort(key=lambda shape: shape.kinds)
        return new.methods

    def has(self, method: str, pattern: str) -> bool:
        """Whether a route takes the same paths by this method already."""
        segments = _segments(pattern)
        if all(kind == _LITERAL for kind, _ in segments):
            return method in self._fixed.get(pattern, ())
        source, shapes = _source(segments), self._shapes.get(pattern[: pattern.index("{")], ())
        return any(method in shape.methods for shape in shapes if shape.source == source)

    def routes(self) -> list[Route]:
        """All routes, in the order of their declaration."""
        return list(self._routes)

    def match(self, method: str, path: str) -> Match:
        """Find the handler. Raises NotFound, or MethodNotAllowed with what the path does answer."""
        # PERF: a fixed path costs one lookup, whatever the number of routes (benchmarks/http,
        # hello).
        fixed = self._fixed.get(path)
        if fixed is not None and method in fixed:
            _, pattern, handler, _ = fixed[method][0]
            return _new(Match, (handler, {}, pattern))
        for shape in self._near(path):
            if method in shape.methods and (found := shape.matches.fullmatch(path)):
                (_, pattern, handler, _), names = shape.methods[method]
                return _new(Match, (handler, dict(zip(names, found.groups())), pattern))
        if method == "HEAD":
            with suppress(NotFound, MethodNotAllowed):
                return self.match("GET", path)
        return self._none_of(method, path)

    def _near(self, path: str) -> list[_Shape]:
        """The shapes that may match the path, the best first: those that begin with most of it."""
        found: list[_Shape] = []
        end = min(len(path), self._longest)
        while (end := path.rfind("/", 0, end)) >= 0:
            found += self._shapes.get(path[: end + 1], ())
        return found

    def _none_of(self, method: str, path: str) -> Match:
        """What is left when no route takes the method."""
        found = [self._fixed[path]] if path in self._fixed else []
        found += [near.methods for near in self._near(path) if near.matches.fullmatch(path)]
        known = {name for methods in found for name in methods}
        if path == "*" and method == "OPTIONS":
            known = {route.method for route in self._routes}
        if not known:
            raise NotFound(text("nothing is at this address"))
        if "GET" in known:
            known.add("HEAD")
        allow = sorted({*known, "OPTIONS"})
        if method != "OPTIONS":
            raise MethodNotAllowed(allow)
        answer = Response(204, b"", [("Allow", ", ".join(allow))])
        # The label of metrics must never be a raw path.
        best = next(iter(found[0].values()))[0].pattern if found else "*"
        return Match(lambda _: answer, {}, best)
