"""The errors of ship, each with a code and a next step, from messages.toml.

Every module of ship raises them, so this module imports none of ship.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import BuildError
from ..resources import table

_MESSAGES = table(__package__, "messages.toml")


def build_error(entry: str, /, **values: object) -> BuildError:
    """Return the error of an entry of messages.toml, with these values in its texts."""
    code, message, hint = (text.format(**values) for text in _MESSAGES[entry])
    return BuildError(message, code=code, hint=hint)


def unreadable(root: Path, path: Path, err: OSError) -> BuildError:
    """Return the BuildError F343 for a file of the project at `root` that cannot be read."""
    return build_error("unreadable", path=path.relative_to(root), why=err.strerror)


def first_of(items: Sequence[str], most: int) -> list[str]:
    """Return the first items of a list for a message, and "and 3 more" for the others.

    most: how many items are returned before that.
    """
    result = list(items[:most])
    others = len(items) - most
    if others > 0:
        result.append(f"and {others} more")
    return result


def one_line(output: bytes) -> str:
    """Return the last 400 characters of a program's output as one line.

    Programs write the reason of a failure at the end.
    """
    words = output.decode("utf-8", "replace").split()
    return " ".join(words)[-400:]
