"""The overview and the profile forms of the admin server."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace as Item

from ..resources import files
from ..wsgi import Raw, Request, Response, html_response
from .inspection import HealthSource, ProcessInspector
from .templates import overview, profiles

# Without scripts the page reloads; with scripts only its facts do.
_FRESH = Raw(
    '<noscript><meta http-equiv="refresh" content="10"></noscript>\n'
    '<script src="/static/admin/admin.js" defer></script>'
)


def show_overview(health: HealthSource, project: str, started: float, request: Request) -> Response:
    """Return the page with the facts of the site. Uses no database.

    project: the project's name.
    started: time.monotonic() at the start of the process.
    """
    state = health.alive()
    facts = {
        "version": state.get("version", "unknown"),
        "commit": str(state.get("commit", "unknown"))[:12],
        "core": state.get("impl", "unknown"),
        "up": timedelta(seconds=int(time.monotonic() - started)),
        "processes": len(health.inspector.serving()),
    }
    page = overview.render(
        project=project,
        title="Overview",
        head=_FRESH,
        facts=[Item(name=name, value=value) for name, value in facts.items()],
    )
    return html_response(page)


def show_profiles(inspector: ProcessInspector, project: str, request: Request) -> Response:
    """Return the page with the forms for profiles. project: the project's name."""
    names = inspector.names()
    processes = names if len(names) > 1 else ()
    page = profiles.render(project=project, title="Profiles", head=Raw(), processes=processes)
    return html_response(page)


def show_icon(request: Request) -> Response:
    """Return the icon of a browser's tab."""
    icon = (files(__package__) / "assets" / "favicon.svg").read_bytes()
    return Response(200, icon, [("Content-Type", "image/svg+xml")])
