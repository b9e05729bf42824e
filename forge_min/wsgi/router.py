"""Finds the handler for a method and a path.

Fixed paths are in a dict. Patterns with parameters are regular expressions, indexed by the text
before their first parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import NotFound, ServerError
from ..i18n import text
from ..lazy import lazy_pattern
from .problem import MethodNotAllowed
from .request import Request
from .response import Response

Handler = Callable[[Request], Response]
"""Handles one request. May raise an exception of `errors` or an HTTPProblem."""

Middleware = Callable[[Request, Handler], Response]
"""Wraps the router: responds itself, or calls the handler and may change its response."""

_PARAM = lazy_pattern(r"\{([a-z_][a-z0-9_]*)(\.\.\.)?\}")
_METHOD = lazy_pattern(r"[A-Z]+")


class Route(NamedTuple):
    """One declared route. name: free text of the caller."""

    method: str
    pattern: str
    handler: Handler
    name: str = ""


Methods = dict[str, tuple[Route, tuple[str, ...]]]
"""Method: its route, and the names of the parameters."""

_LITERAL, _PARAMETER, _REST = range(3)
_EXPRESSIONS = {_PARAMETER: "([^/]+)", _REST: "(.*)"}


class _Shape(NamedTuple):
    """All patterns that match the same paths. kinds: of the segments; lower ones are preferred."""

    kinds: tuple[int, ...]
    matches: re.Pattern[str]
    methods: Methods


def _route_error(pattern: str, why: str) -> ServerError:
    return ServerError(f"route {pattern!r}: {why}", code="F505")


def _segments(pattern: str) -> list[tuple[int, str]]:
    """(kind, literal text or parameter's name) of each segment. Raises ServerError."""
    if not pattern.startswith("/"):
        raise _route_error(pattern, "a pattern must start with /")
    segments: list[tuple[int, str]] = []
    for part in pattern[1:].split("/"):
        match = _PARAM.fullmatch(part)
        if match:
            kind = _PARAMETER
            if match[2]:
                kind = _REST
            segments.append((kind, match[1]))
        elif "{" in part or "}" in part:
            raise _route_error(pattern, "a parameter must be a whole segment, {name} or {name...}")
        else:
            segments.append((_LITERAL, part))
    if any(kind == _REST for kind, _ in segments[:-1]):
        raise _route_error(pattern, "{name...} must be the last segment")
    return segments


def _source(segments: list[tuple[int, str]]) -> str:
    """Return the regular expression of a pattern."""
    parts = [_EXPRESSIONS.get(kind) or re.escape(part) for kind, part in segments]
    return "/" + "/".join(parts)


class Router:
    """The table of routes. Filled before the server starts, then read by all threads.

    Patterns: "/flights/{id}", or "/files/{path...}" for the rest of the path. A literal segment
    precedes a parameter. HEAD uses the route of GET. OPTIONS without a route is 204 with Allow.
    """

    def __init__(self) -> None:
        self._fixed: dict[str, Methods] = {}
        self._shapes: dict[str, list[_Shape]] = {}  # by the text before the first parameter
        self._longest = 0
        self._methods: dict[str, Methods] = {}  # of all patterns, by their regular expression
        self._routes: list[Route] = []

    def add(self, method: str, pattern: str, handler: Handler, *, name: str = "") -> None:
        """Declare a route. Raises ServerError F505 for an invalid or repeated one."""
        if not _METHOD.fullmatch(method):
            raise _route_error(pattern, f"{method!r} is not a method in capital letters")
        if self.has(method, pattern):
            raise _route_error(pattern, f"{method} is declared twice")
        segments = _segments(pattern)
        names = tuple(name for kind, name in segments if kind != _LITERAL)
        if len(set(names)) < len(names):
            raise _route_error(pattern, "two parameters have the same name")
        source = _source(segments)
        methods = self._methods.setdefault(source, {})
        if not names:
            self._fixed[pattern] = methods
        elif not methods:
            start = pattern[: pattern.index("{")]
            self._longest = max(self._longest, len(start))
            kinds = tuple(kind for kind, _ in segments)
            matches = lazy_pattern(source, re.DOTALL)
            shapes = self._shapes.setdefault(start, [])
            shapes.append(_Shape(kinds, matches, methods))
            shapes.sort(key=lambda shape: shape.kinds)
        route = Route(method, pattern, handler, name)
        methods[method] = (route, names)
        self._routes.append(route)

    def has(self, method: str, pattern: str) -> bool:
        """Return whether a route for this method matches the same paths."""
        source = _source(_segments(pattern))
        return method in self._methods.get(source, ())

    def routes(self) -> list[Route]:
        """Return all routes, in the order of their declaration."""
        return list(self._routes)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Find a route. Returns it with the decoded values of its parameters, by name.

        Raises NotFound, or MethodNotAllowed with the supported methods.
        """
        # PERF: a fixed path costs one lookup, for any number of routes (benchmarks/http, hello).
        fixed = self._fixed.get(path)
        if fixed is not None and method in fixed:
            return fixed[method][0], {}
        for shape in self._candidates(path):
            if method in shape.methods:
                match = shape.matches.fullmatch(path)
                if match:
                    route, names = shape.methods[method]
                    return route, dict(zip(names, match.groups()))
        if method == "HEAD":
            with suppress(NotFound, MethodNotAllowed):
                return self.match("GET", path)
        return self._without_route(method, path), {}

    def _candidates(self, path: str) -> Iterator[_Shape]:
        """Yield the shapes that may match, those with the longest common beginning first."""
        slash = path.rfind("/", 0, self._longest)
        while slash >= 0:
            yield from self._shapes.get(path[: slash + 1], ())
            slash = path.rfind("/", 0, slash)

    def _without_route(self, method: str, path: str) -> Route:
        """Return the default route of OPTIONS; raise as `match` for other methods."""
        matches = []
        if path in self._fixed:
            matches.append(self._fixed[path])
        for shape in self._candidates(path):
            if shape.matches.fullmatch(path):
                matches.append(shape.methods)
        names: set[str] = set()
        for methods in matches:
            names.update(methods)
        if path == "*" and method == "OPTIONS":
            names = {route.method for route in self._routes}
        if not names:
            raise NotFound(text("nothing is at this address"))
        names.add("OPTIONS")
        if "GET" in names:
            names.add("HEAD")
        allow = sorted(names)
        if method != "OPTIONS":
            raise MethodNotAllowed(allow)
        response = Response(204, b"", [("Allow", ", ".join(allow))])
        # The label of metrics must not be a path of a client.
        pattern = "*"
        if matches:
            route, _ = next(iter(matches[0].values()))
            pattern = route.pattern
        return Route(method, pattern, lambda request: response)
