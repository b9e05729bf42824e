"""One thing that is wrong in a user's source file: what is said of it, and how it is shown. Nothing
here finds it.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..data import files
from ..errors import printable

_MESSAGES = tomllib.loads(files(__package__).joinpath("messages.toml").read_text(encoding="utf-8"))
_RED, _BLUE, _BOLD, _RESET = "\x1b[31;1m", "\x1b[34;1m", "\x1b[1m", "\x1b[0m"


class Problem(NamedTuple):
    """What is wrong, without its place. hint may be ""."""

    code: str
    message: str
    hint: str


def problem(entry: str, /, **words: object) -> Problem:
    """An entry of messages.toml with its words filled in."""
    return Problem(*(text.format(**words) for text in _MESSAGES[entry]))


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source file. line and col count from 1; end_col is the first column after it."""

    file: str
    line: int
    col: int
    end_col: int


@dataclass(frozen=True, slots=True)
class Diagnostic(Span):
    """A mistake at its place. code: "F1..", in codes.toml. hint: or ""."""

    code: str
    message: str
    source_line: str
    hint: str = ""

    def format(self, color: bool = False) -> str:
        """Several lines for a person, no final newline, no control character of the file."""
        red, blue, bold, reset = (_RED, _BLUE, _BOLD, _RESET) if color else ("", "", "", "")
        gutter = " " * len(str(self.line))
        lines = [
            f"{red}error[{self.code}]{reset}{bold}: {printable(self.message)}{reset}",
            f"{gutter}{blue}-->{reset} {printable(self.file)}:{self.line}:{self.col}",
        ]
        if self.source_line.strip():
            line = self.source_line.expandtabs(1)
            start, end = self.col - 1, self.end_col - 1
            before, marked = len(printable(line[:start])), len(printable(line[start:end]))
            lines += [
                f"{gutter} {blue}|{reset}",
                f"{blue}{self.line} |{reset} {printable(line)}",
                f"{gutter} {blue}|{reset} {' ' * before}{red}{'^' * max(1, marked)}{reset}",
            ]
        if self.hint:
            lines.append(f"{gutter} {blue}={reset} hint: {printable(self.hint)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, str | int]:
        """The same as data: each attribute by its name."""
        return asdict(self)


def quote(text: str) -> str:
    """A user's text inside a message: in quotes, shortened, control characters escaped."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())
