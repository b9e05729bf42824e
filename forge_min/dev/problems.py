"""What a person should know of the project as it is now, in the terminal and over its pages."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import NamedTuple

from ..errors import ErrorGroup, ForgeError
from ..parse import Diagnostic

MOST = 12_000  # characters of a traceback
_RED, _YELLOW, _RESET = "\x1b[31;1m", "\x1b[33;1m", "\x1b[0m"


class Problem(NamedTuple):
    """title: one line. text: more of them, or "". notice: nothing is broken, something is to do.
    code: of an error of ours, else "".
    """

    title: str
    text: str = ""
    notice: bool = False
    code: str = ""

    def format(self, *, color: bool) -> str:
        """For a terminal."""
        mark, reset = (_YELLOW if self.notice else _RED, _RESET) if color else ("", "")
        return f"{mark}{self.title}{reset}" + (f"\n{self.text}" if self.text else "")


def diagnosed(found: Diagnostic) -> Problem:
    """A mistake in a schema."""
    title, _, text = found.format().partition("\n")
    return Problem(title, text)


def problems_of(error: BaseException, root: Path) -> list[Problem]:
    """What an error says: errors of ours by code, message and hint; all others by the traceback
    from the project's first line on.
    """
    if isinstance(error, ErrorGroup):
        return [problem for one in error.errors for problem in problems_of(one, root)]
    if isinstance(error, ForgeError):
        hint = f"hint: {error.hint}" if error.hint else ""
        return [Problem(f"error[{error.code}]: {error.message}", hint, code=error.code)]
    told = traceback.TracebackException.from_exception(error)
    first = next((n for n, f in enumerate(told.stack) if Path(f.filename).is_relative_to(root)), 0)
    del told.stack[:first]
    *_, last = traceback.TracebackException.from_exception(error).format_exception_only()
    text = "".join(told.format()).replace(f"{root}/", "").rstrip()
    return [Problem(last.strip().replace("\n", " "), text[-MOST:])]
