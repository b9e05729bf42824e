"""routes: every route that this project answers, in the router's own words. No database needed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from .project import find_root, use_code

if TYPE_CHECKING:
    from ..wsgi import Request, Route


def routes(args: argparse.Namespace) -> int:
    """Method, pattern and name of each, by pattern."""
    from ..ops.door import tell

    use_code(find_root(args))
    routes = sorted(_read(), key=lambda route: (route.pattern, route.method))
    rows = [{"method": r.method, "pattern": r.pattern, "name": r.name} for r in routes]
    lines = [f"{r.method:7} {r.pattern:40} {r.name}".rstrip() for r in routes]
    tell(rows, lines, as_json=args.json)
    return 0


def _read() -> list[Route]:
    """Imports the project's code, and connects nowhere."""
    from .. import db
    from ..actions import Registry
    from ..app.routes import build_router
    from ..ops.project import load_project
    from ..wsgi.views import Frame

    project = load_project()
    app, generated = project.code()
    registry = Registry(db.Database(""), app.dependencies)
    made = generated.register(registry, project.config.api.prefix)
    frame = Frame(project.config.project.name)
    router = build_router(
        app, registry, generated, made, _no_events, project.root, project.config, frame
    )
    return list(router.routes())


def _no_events(request: Request) -> NoReturn:
    raise NotImplementedError("routes are only listed here")
