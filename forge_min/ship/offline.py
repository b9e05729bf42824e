"""A guard for offline builds: the first attempt to open a connection is an error, not a promise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar

from .failure import failure

_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"})
_forbidden: ContextVar[bool] = ContextVar("forge_offline", default=False)
_installed: list[str] = []


@contextmanager
def no_network() -> Iterator[None]:
    """While it lasts, opening a connection or resolving a name is BuildError F346 (PEP 578)."""
    if not _installed:  # an audit hook cannot be removed: one, that looks at the variable
        sys.addaudithook(_refuse)
        _installed.append(__name__)
    token = _forbidden.set(True)
    try:
        yield
    finally:
        _forbidden.reset(token)


def _refuse(event: str, arguments: tuple[object, ...], events: Set[str] = _EVENTS) -> None:
    # SAFETY: at the interpreter's end the module's names are gone, and hooks are still called.
    if event in events and _forbidden.get():
        raise failure("network", event=event)
