"""routes, openapi: the project's routes and its OpenAPI document. Needs no database."""

from __future__ import annotations

import argparse
import json
import os

from ..app import declared_router
from ..ops import load_project, print_result
from ..wsgi import Request, Router
from .project import find_root, use_code


def routes(args: argparse.Namespace) -> None:
    """Print method, pattern and name of each route, by pattern."""
    routes = sorted(_router(args).routes(), key=lambda route: (route.pattern, route.method))
    rows = [{"method": r.method, "pattern": r.pattern, "name": r.name} for r in routes]
    lines = [f"{r.method:7} {r.pattern:40} {r.name}".rstrip() for r in routes]
    print_result(rows, lines, as_json=args.json)


def openapi(args: argparse.Namespace) -> None:
    """Print the document of /api/openapi.json, even if `api.docs` does not serve it."""
    os.environ["FORGE_API_DOCS"] = "true"
    route, _ = _router(args).match("GET", "/api/openapi.json")
    body = route.handler(Request({"REQUEST_METHOD": "GET"})).body
    if not isinstance(body, bytes):
        body = b"".join(body)
    spec = json.loads(body)
    lines = json.dumps(spec, indent=2, ensure_ascii=False).splitlines()
    print_result(spec, lines, as_json=args.json)


def _router(args: argparse.Namespace) -> Router:
    """Return the router of the project's code. Opens no connection."""
    use_code(find_root(args))
    return declared_router(load_project().code())[1]
