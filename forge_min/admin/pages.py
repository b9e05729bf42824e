"""The overview and the profile forms of the admin server."""

from __future__ import annotations

import time
from types import SimpleNamespace as Item

from ..wsgi import Handler, Raw, Request, Response, html_response
from .history import History
from .inspection import HealthSource
from .plots import plots
from .profiles import PATH
from .templates import overview, profiles

# Without scripts the page reloads; with scripts only its plots do.
_FRESH = Raw(
    '<noscript><meta http-equiv="refresh" content="10"></noscript>\n'
    '<script src="/static/admin/admin.js" defer></script>'
)
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16"'
    b' rx="3" fill="#0b5cad"/><path d="M2 11l3-4 3 2 3-6 3 5" fill="none" stroke="#fff"'
    b' stroke-width="1.6"/></svg>'
)


class Pages:
    """The handlers of the two pages. project: the project's name."""

    def __init__(self, project: str, health: HealthSource, history: History) -> None:
        self._project, self._health, self._history = project, health, history
        self._started = time.monotonic()

    def routes(self) -> dict[str, Handler]:
        """Return the handlers by method and path. None uses a database."""
        return {
            "GET /": self._overview,
            f"GET {PATH}": self._profiles,
            "GET /favicon.ico": lambda _: Response(200, _ICON, [("Content-Type", "image/svg+xml")]),
        }

    def _overview(self, request: Request) -> Response:
        state, serving = self._health.alive(), self._health.inspector.serving()
        facts = {
            "version": state.get("version", "unknown"),
            "commit": str(state.get("commit", "unknown"))[:12],
            "core": state.get("impl", "unknown"),
            "up": uptime(time.monotonic() - self._started),
            "processes": len(serving),
        }
        page = overview.render(
            project=self._project,
            title="Overview",
            head=_FRESH,
            facts=[Item(name=name, value=value) for name, value in facts.items()],
            plots=plots(self._history.points()),
        )
        return html_response(page)

    def _profiles(self, request: Request) -> Response:
        names = self._health.inspector.names()
        processes = names if len(names) > 1 else ()
        page = profiles.render(
            project=self._project, title="Profiles", head=Raw(), processes=processes
        )
        return html_response(page)


def uptime(seconds: float) -> str:
    """Return the two largest units of a duration, as "3 d 4 h"."""
    parts: list[str] = []
    left = int(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number or parts or size == 1:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
