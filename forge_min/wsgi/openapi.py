"""The OpenAPI 3.1 document: gen's part with the prefix put on, and every other route of the router.

Made once at start. The page at /api/docs is plain HTML of the same document, so it works with no
internet.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from string import Template
from typing import Any

from ..text import current_language, known, later, text
from .html import escape
from .request import Request
from .response import Response, html_response, to_json
from .router import Handler, Route

Json = dict[str, Any]


_HIDDEN = later("(not for everybody)")
_PLACE = files("forge_min.wsgi")
_SHARED: Json = tomllib.loads((_PLACE / "openapi.toml").read_text("utf-8"))
_PAGE = Template((_PLACE / "docs.html").read_text("utf-8"))


def document(
    generated: Mapping[str, Any], routes: Iterable[Route], *, title: str, version: str, prefix: str
) -> Json:
    """The whole document. generated: gen/openapi.json. routes: every route that the router has."""
    paths: Json = {prefix + path: dict(item) for path, item in generated["paths"].items()}
    for route in routes:
        item = paths.setdefault(route.pattern.replace("...}", "}"), {})
        if route.method.lower() not in item:
            item[route.method.lower()] = _plain(route)
    schemas = {**_SHARED, **generated["components"]["schemas"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _plain(route: Route) -> Json:
    """What can be said of a route that the user wrote: its name, parameters and docstring."""
    words = (route.handler.__doc__ or route.name or route.pattern).strip().splitlines()[0]
    operation: Json = {
        "summary": words,
        "responses": {"default": {"description": "See the summary"}},
    }
    if route.name:
        operation["operationId"] = route.name
    names = re.findall(r"\{([a-z_][a-z0-9_]*)(?:\.\.\.)?\}", route.pattern)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    return operation


def handlers(made: Json) -> tuple[Handler, Handler]:
    """The handlers of /api/openapi.json and /api/docs."""
    page = _page(made)
    body = lru_cache(lambda language: to_json(_spoken(made)))  # of the current language

    def contract(request: Request) -> Response:
        """This API as OpenAPI 3.1."""
        language, headers = current_language(), [("Content-Type", "application/json")]
        if known():
            headers += [("Vary", "Accept-Language"), ("Content-Language", language or "en")]
        return Response(200, body(language), headers)

    def docs(request: Request) -> Response:
        """This API for people."""
        return html_response(page, headers=[("Content-Language", "en")])

    return contract, docs


def _spoken(made: Any) -> Any:
    """The document with the words of the schemas in the current language."""
    if isinstance(made, list):
        return [_spoken(each) for each in made]
    if not isinstance(made, dict):
        return made
    told = ("title", "description")
    return {
        name: _words(value) if name in told and isinstance(value, str) else _spoken(value)
        for name, value in made.items()
    }


def _words(value: str) -> str:
    """A label; or a help, and behind it what generate says of a field that some roles see."""
    words = value.removesuffix(_HIDDEN).rstrip()
    return " ".join(filter(None, [text(words), text(_HIDDEN) if value.endswith(_HIDDEN) else ""]))


def _page(made: Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(method.upper())}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td></tr>\n"
        for path, item in made["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    )
    return _PAGE.substitute(title=escape(made["info"]["title"]), rows=rows)
