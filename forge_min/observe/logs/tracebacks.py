"""The traceback of an exception as it may be kept, whatever the exception's class does."""

from __future__ import annotations

import traceback
from types import TracebackType

from .masks import tidied


def trace_of(
    error: BaseException | None,
    trace: TracebackType | None = None,
    *,
    limit: int | None = None,
    most: int | None = None,
) -> str:
    """What Python tells of `error`, tidied. trace: from there; None: its own. limit: frames, as of
    traceback.format_exception. most: characters that are read.
    """
    trace = trace or (error.__traceback__ if error else None)
    try:
        kind = None if error is None else type(error)
        text = "".join(traceback.format_exception(kind, error, trace, limit))
    except Exception:  # before Python 3.13 it asks the class for more, and that raised
        lines = traceback.format_tb(trace, limit)
        text = "".join(
            [
                "Traceback (most recent call last):\n",
                *lines,
                f"{name_of(error)}: {said_by(error)}\n",
            ]
        )
    return tidied(text[:most], error)


def name_of(error: BaseException | None) -> str:
    """Its class, as Python's traceback names it."""
    kind = type(error)
    plain = kind.__module__ in ("builtins", "")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def said_by(error: BaseException | None) -> str:
    """What it says of itself, or that it cannot."""
    try:
        return str(error)
    except Exception:  # as its traceback says
        return "<exception str() failed>"
