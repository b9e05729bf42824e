"""One thing that is wrong in a user's source file, and how it is shown. Nothing here finds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

_RED, _BLUE, _BOLD, _RESET = "\x1b[31;1m", "\x1b[34;1m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """code: "F1..", in codes.toml. line, col from 1; end_col: first column after. hint: or ""."""

    code: str
    message: str
    file: str
    line: int
    col: int
    end_col: int
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
            width = max(1, min(self.end_col, len(self.source_line) + 1) - self.col)
            lines += [
                f"{gutter} {blue}|{reset}",
                f"{blue}{self.line} |{reset} {printable(self.source_line)}",
                f"{gutter} {blue}|{reset} {' ' * (self.col - 1)}{red}{'^' * width}{reset}",
            ]
        if self.hint:
            lines.append(f"{gutter} {blue}={reset} hint: {printable(self.hint)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, str | int]:
        """The same as data: each attribute by its name."""
        return asdict(self)


def printable(text: str) -> str:
    """`text` with every character that a terminal would obey replaced, one for one."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else (" " if c == "\t" else "\ufffd") for c in text)


def quote(text: str) -> str:
    """A user's text inside a message: in quotes, shortened, control characters escaped."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())
