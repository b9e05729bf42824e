"""An admin server for tests, without a database or an application behind it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from forge_min.admin.inspection import ProcessInspector
from forge_min.admin.server import AdminServer
from forge_min.observe import CONTENT_TYPE


class Source(SimpleNamespace):
    """A `HealthSource` of the test's own; each option takes the place of one of its answers."""

    def __init__(self, **options: Any) -> None:
        values: dict[str, Any] = {
            "metrics": lambda accept: (CONTENT_TYPE, b"up 1\n"),
            "alive": lambda: {"version": "1.2", "commit": "abc", "impl": "c"},
            "ready": lambda: (True, {}),
            "jobs": lambda: None,
            "inspector": ProcessInspector(),
        }
        super().__init__(**values | options)


SERVER = ("host", "port", "project", "token", "listener")


def new_server(**options: Any) -> AdminServer:
    """An admin server on any port. options: of it, and of its `Source`."""
    values = {name: options.pop(name) for name in SERVER if name in options}
    address = values.pop("host", "127.0.0.1"), values.pop("port", 0)
    return AdminServer(*address, Source(**options), **values)
