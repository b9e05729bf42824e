"""Problems of a project, shown in the terminal and over its pages."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import NamedTuple

from ..errors import ErrorGroup, ForgeError

MOST = 12_000  # characters of a traceback
_RED = "\x1b[31;1m"
_YELLOW = "\x1b[33;1m"
_RESET = "\x1b[0m"


class Problem(NamedTuple):
    """An error, or a notice of something to do.

    title: one line.
    text: further lines, default "".
    notice: whether the project works anyway.
    code: the code of a ForgeError, else "".
    """

    title: str
    text: str = ""
    notice: bool = False
    code: str = ""

    def format(self, *, color: bool) -> str:
        """Return the lines for a terminal."""
        title = self.title
        if color:
            mark = _YELLOW if self.notice else _RED
            title = f"{mark}{title}{_RESET}"
        if self.text:
            return f"{title}\n{self.text}"
        return title


def problems_of(error: BaseException, root: Path) -> list[Problem]:
    """Return the problems of an exception.

    A ForgeError is shown by code, message and hint, any other exception by its traceback from the
    project's first line on.
    """
    if isinstance(error, ErrorGroup):
        return [problem for member in error.errors for problem in problems_of(member, root)]
    if isinstance(error, ForgeError):
        hint = f"hint: {error.hint}" if error.hint else ""
        return [Problem(f"error[{error.code}]: {error.message}", hint, code=error.code)]
    trace = traceback.TracebackException.from_exception(error)
    *_, message = trace.format_exception_only()
    for index, frame in enumerate(trace.stack):
        if Path(frame.filename).is_relative_to(root):
            del trace.stack[:index]
            break
    text = "".join(trace.format()).replace(f"{root}/", "").rstrip()
    return [Problem(message.strip().replace("\n", " "), text[-MOST:])]
