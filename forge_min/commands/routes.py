"""routes: every route that this project answers, in the router's own words. No database needed."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, NoReturn

from .project import find_root, use_code
from .tree import add_command

if TYPE_CHECKING:
    from ..wsgi import Request, Route
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    add_command(
        commands, "routes", _routes, help="list the routes: method and pattern", example="routes"
    )


def _routes(args: argparse.Namespace) -> int:
    use_code(find_root(args))
    routes = sorted(_read(), key=lambda route: (route.pattern, route.method))
    if args.json:
        rows = [{"method": r.method, "pattern": r.pattern, "name": r.name} for r in routes]
        print(json.dumps(rows))
    else:
        print("\n".join(f"{r.method:7} {r.pattern:40} {r.name}".rstrip() for r in routes))
    return 0


def _read() -> list[Route]:
    """Imports the project's code, and connects nowhere."""
    from .. import db
    from ..actions import Registry
    from ..app.routes import build_router
    from ..ops.project import load_project

    project = load_project()
    app, generated = project.code()
    registry = Registry(db.Database(""), app.dependencies)
    made = generated.register(registry, project.config.api.prefix)
    router = build_router(app, registry, generated, made, _no_events, project.root, project.config)
    return list(router.routes())


def _no_events(request: Request) -> NoReturn:
    raise NotImplementedError("routes are only listed here")
