"""The names in a profile: short, and without what their formats give a meaning to."""

from __future__ import annotations

import sys
from types import CodeType

from ...expression import expression

# Of the collapsed format ";" parts frames, a space the count, a line end the stacks.
_PARTS = expression(r"[\s;\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 300


def safe(name: str) -> str:
    """The name as one frame of a collapsed stack: at most 300 characters, never empty."""
    return _PARTS.sub("_", name[:_LONGEST]) or "_"


def file_name(path: str) -> str:
    """A file as it is imported: without the folder, or the zip, of sys.path that holds it."""
    holders = [f for f in sys.path if f and path.startswith(f.rstrip("/") + "/")]
    return path[len(max(holders, key=len).rstrip("/")) + 1 :] if holders else path


class Labels:
    """Code objects → names of frames, `wsgi/server/core.py:Core.work`. For one profile: it keeps
    the code alive, so that no id comes to mean another.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[CodeType, str]] = {}

    def of(self, code: CodeType) -> str:
        """The name of a frame that runs this code."""
        found = self._known.get(id(code))
        if found is None:
            label = safe(f"{file_name(code.co_filename)}:{code.co_qualname}")
            found = self._known[id(code)] = code, label
        return found[1]
