"""From a method and a path to a handler: a dict for fixed paths, a trie of segments for the
rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import NotFound, ServerError
from .problem import MethodNotAllowed
from .request import Request
from .response import Response

Handler = Callable[[Request], Response]
"""Answers one request, or raises an error of `errors` or an HTTPProblem."""

Middleware = Callable[[Request, Handler], Response]
"""Stands around the router: may answer itself, or call the handler and change its answer."""

_PARAM = re.compile(r"\{([a-z_][a-z0-9_]*)(\.\.\.)?\}")
_METHOD = re.compile(r"[A-Z]+")


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


class _Node:
    """One segment of the trie: children by literal, one for a parameter, methods that end here."""

    __slots__ = ("children", "methods", "param", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.param: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, tuple[Route, tuple[str, ...]]] = {}


def _wrong(pattern: str, why: str) -> ServerError:
    return ServerError(f"route {pattern!r}: {why}", code="F505")


def _segments(pattern: str) -> list[tuple[str, str]]:
    """(kind, text) of each segment; kind is "literal", "param" or "rest"."""
    if not pattern.startswith("/"):
        raise _wrong(pattern, "a pattern starts with /")
    out: list[tuple[str, str]] = []
    for text in pattern[1:].split("/"):
        found = _PARAM.fullmatch(text)
        if found:
            out.append(("rest" if found[2] else "param", found[1]))
        elif "{" in text or "}" in text:
            raise _wrong(pattern, "a parameter is one whole segment, {name} or {name...}")
        else:
            out.append(("literal", text))
    if any(kind == "rest" for kind, _ in out[:-1]):
        raise _wrong(pattern, "{name...} stands only at the end")
    return out


def _descend(node: _Node, kind: str, text: str) -> _Node:
    if kind == "literal":
        return node.children.setdefault(text, _Node())
    if kind == "param":
        node.param = node.param or _Node()
        return node.param
    node.rest = node.rest or _Node()
    return node.rest


class Router:
    """The table of routes. Filled before the server starts, read by all threads afterwards.

    Patterns: "/flights/{id}"; "{path...}" at the end takes all that is left. A literal segment wins
    over a parameter. HEAD is answered by GET; OPTIONS by a 204 with Allow unless a route takes it.
    """

    def __init__(self) -> None:
        self._static: dict[str, dict[str, Route]] = {}
        self._root = _Node()
        self._routes: list[Route] = []

    def add(self, method: str, pattern: str, handler: Handler, *, name: str = "") -> None:
        """Declare a route. Raises ServerError (F505) for a wrong or a repeated one."""
        if not _METHOD.fullmatch(method):
            raise _wrong(pattern, f"{method!r} is no method in capitals")
        segments = _segments(pattern)
        names = tuple(text for kind, text in segments if kind != "literal")
        if len(set(names)) < len(names):
            raise _wrong(pattern, "a parameter is named twice")
        route = Route(method, pattern, handler, name)
        node = self._root
        for kind, text in segments:
            node = _descend(node, kind, text)
        if method in node.methods:
            raise _wrong(pattern, f"{method} is declared twice")
        node.methods[method] = (route, names)
        if not names:
            self._static.setdefault(pattern, {})[method] = route
        self._routes.append(route)

    def routes(self) -> list[Route]:
        """All routes, in the order of their declaration."""
        return list(self._routes)

    def match(self, method: str, path: str) -> Match:
        """Find the handler. Raises NotFound, or MethodNotAllowed with what the path does answer."""
        # PERF: a fixed path costs one lookup, whatever the number of routes (benchmarks/http,
        # hello).
        fixed = self._static.get(path)
        if fixed is not None:
            route = fixed.get(method)
            if route is not None:
                return Match(route.handler, {}, route.pattern)
        found = list(self._find(self._root, path[1:].split("/"), 0, ()))
        wanted = (method, "GET") if method == "HEAD" else (method,)
        for name in wanted:
            for node, values in found:
                if name in node.methods:
                    route, names = node.methods[name]
                    return Match(route.handler, dict(zip(names, values)), route.pattern)
        return self._none_of(method, path, [node for node, _ in found])

    def _find(
        self, node: _Node, parts: list[str], at: int, values: tuple[str, ...]
    ) -> Iterator[tuple[_Node, tuple[str, ...]]]:
        """Every node that the path ends on, the best first."""
        if at == len(parts):
            if node.methods:
                yield node, values
            return
        part = parts[at]
        child = node.children.get(part)
        if child is not None:
            yield from self._find(child, parts, at + 1, values)
        if node.param is not None and part:
            yield from self._find(node.param, parts, at + 1, (*values, part))
        if node.rest is not None:
            yield node.rest, (*values, "/".join(parts[at:]))

    def _none_of(self, method: str, path: str, nodes: list[_Node]) -> Match:
        """What is left when no route takes the method."""
        known = {name for node in nodes for name in node.methods}
        if path == "*" and method == "OPTIONS":
            known = {route.method for route in self._routes}
        if not known:
            raise NotFound("nothing is at this address")
        if "GET" in known:
            known.add("HEAD")
        allow = sorted({*known, "OPTIONS"})
        if method != "OPTIONS":
            raise MethodNotAllowed(allow)
        answer = Response(204, b"", [("Allow", ", ".join(allow))])
        return Match(lambda _: answer, {}, nodes and path_of(nodes) or "*")


def path_of(nodes: list[_Node]) -> str:
    """The pattern of the best node: the label of metrics must never be a raw path."""
    return next(iter(nodes[0].methods.values()))[0].pattern
