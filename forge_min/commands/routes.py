"""routes, openapi: what this project answers, in the router's own words. No database needed."""

from __future__ import annotations

import argparse
import json
import os
from typing import NoReturn

from .. import db
from ..actions import Registry
from ..app import build_router
from ..html import Layout
from ..ops import load_project, tell
from ..wsgi import Request, Router
from .project import find_root, use_code


def routes(args: argparse.Namespace) -> None:
    """Method, pattern and name of each, by pattern."""
    routes = sorted(_router(args).routes(), key=lambda route: (route.pattern, route.method))
    rows = [{"method": r.method, "pattern": r.pattern, "name": r.name} for r in routes]
    lines = [f"{r.method:7} {r.pattern:40} {r.name}".rstrip() for r in routes]
    tell(rows, lines, as_json=args.json)


def openapi(args: argparse.Namespace) -> None:
    """The document of /api/openapi.json, also where `api.docs` does not serve it."""
    os.environ["FORGE_API_DOCS"] = "true"
    found = _router(args).match("GET", "/api/openapi.json")
    body = found.handler(Request({"REQUEST_METHOD": "GET"})).body
    made = json.loads(b"".join([body] if isinstance(body, bytes) else body))
    tell(made, json.dumps(made, indent=2, ensure_ascii=False).splitlines(), as_json=args.json)


def _router(args: argparse.Namespace) -> Router:
    """Imports the project's code, and connects nowhere."""
    use_code(find_root(args))
    project = load_project()
    app, generated = project.code()
    registry = Registry(db.Database(""), app.dependencies)
    made = generated.register(registry, project.config.api.prefix)
    layout = Layout(project.config.project.name)
    return build_router(
        app, registry, generated, made, _no_events, project.root, project.config, layout
    )


def _no_events(request: Request) -> NoReturn:
    """Stand for the handler of /events, which needs a hub: these commands serve no request."""
    raise NotImplementedError("routes are only listed here")
