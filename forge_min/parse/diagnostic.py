"""A user's source file: its text, lines and syntax tree, and the diagnostics at places in it."""

from __future__ import annotations

import ast
import errno
import io
import json
import re
import tokenize
import tomllib
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import printable
from ..resources import files

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


MAX_BYTES = 1 << 20
_NEWLINE = re.compile(r"\r\n|\r|\n")


class Source:
    """One schema file and the diagnostics found in it so far."""

    def __init__(self, file: str, data: bytes) -> None:
        """file: its name in messages, relative to the project, with "/"."""
        self.file = file
        self.data = data
        self.diagnostics: dict[Diagnostic, None] = {}  # a set in order
        # The lines as Python's tokenizer counts them: str.splitlines knows eight more line ends.
        self.lines = _NEWLINE.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))

    def report(self, span: Span, mistake: Problem) -> None:
        """Note one diagnostic; the same one twice is one."""
        line = self.lines[span.line - 1] if span.line <= len(self.lines) else ""
        place = (span.file, span.line, span.col, span.end_col)
        code, message, hint = mistake
        self.diagnostics[Diagnostic(*place, code, message, line, hint)] = None

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> Span:
        """The place of a node, on its first line."""
        line = self.lines[node.lineno - 1]
        start, end = _column(line, node.col_offset), len(line.rstrip())
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            end = _column(line, node.end_col_offset)
        return Span(self.file, node.lineno, start + 1, max(end, start + 1) + 1)

    @property
    def folder(self) -> str:
        """The name of the folder that it lies in."""
        return PurePosixPath(self.file).parent.name

    @property
    def top(self) -> Span:
        """The file as a whole."""
        return Span(self.file, 1, 1, 2)

    def tree(self) -> ast.Module | None:
        """The syntax tree; None when there is none, and the reason was reported."""
        if not self._is_text():
            self.report(self.top, problem("not_text", most=MAX_BYTES))
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an escape such as "\d" is the user's own affair
                return ast.parse(self.data.decode("utf-8-sig"))
        except SyntaxError as err:
            self.report(_syntax_span(self.file, err), problem("syntax", why=err.msg))
        except (RecursionError, MemoryError, ValueError):
            self.report(self.top, problem("not_readable"))
        return None

    def _is_text(self) -> bool:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(self.data).readline)
            plain = "\0" not in self.data.decode("utf-8-sig")
        except (SyntaxError, UnicodeDecodeError):
            return False
        return plain and encoding.startswith("utf-8") and len(self.data) <= MAX_BYTES


def _column(line: str, offset: int) -> int:
    """How many characters the first `offset` bytes of a line are."""
    return offset if line.isascii() else len(line.encode()[:offset].decode("utf-8", "ignore"))


def _syntax_span(file: str, err: SyntaxError) -> Span:
    line, col = max(err.lineno or 1, 1), max(err.offset or 1, 1)
    end = err.end_offset if err.end_lineno == err.lineno else None
    return Span(file, line, col, max(end or 0, col + 1))


def read_source(path: Path, file: str) -> Source:
    """The file at `path`; one that cannot be read is an empty Source with the reason reported."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise OSError(errno.EINVAL, "it is no regular file")
        return Source(file, path.read_bytes())
    except OSError as err:
        source = Source(file, b"")
        source.report(source.top, problem("not_openable", why=err.strerror))
        return source
