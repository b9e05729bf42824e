"""A schema file: its text, lines, syntax tree and diagnostics."""

from __future__ import annotations

import ast
import errno
import io
import json
import re
import tokenize
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import printable
from ..resources import table

_MESSAGES = table(__package__, "messages.toml")
_COLORS = ("\x1b[31;1m", "\x1b[34;1m", "\x1b[1m", "\x1b[0m")  # red, blue, bold, reset


class SchemaProblem(NamedTuple):
    """A problem without its position. hint: the next step, or ""."""

    code: str
    message: str
    hint: str


def problem(entry: str, /, **words: object) -> SchemaProblem:
    """Return an entry of messages.toml with its placeholders replaced by `words`."""
    return SchemaProblem(*(text.format(**words) for text in _MESSAGES[entry]))


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """A range in a source file.

    line, col: count from 1.
    end_col: the first column after the range.
    """

    file: str
    line: int
    col: int
    end_col: int


@dataclass(frozen=True, slots=True)
class Diagnostic(SourceSpan):
    """A problem at its position.

    code: "F1..", see codes.toml.
    hint: the next step, or "".
    """

    code: str
    message: str
    source_line: str
    hint: str = ""

    def format(self, color: bool = False) -> str:
        """Return several lines of text, without final newline and without control characters."""
        red, blue, bold, reset = _COLORS if color else ("", "", "", "")
        gutter = " " * len(str(self.line))
        lines = [
            f"{red}error[{self.code}]{reset}{bold}: {printable(self.message)}{reset}",
            f"{gutter}{blue}-->{reset} {printable(self.file)}:{self.line}:{self.col}",
        ]
        if self.source_line.strip():
            line = self.source_line.expandtabs(1)
            start = self.col - 1
            before = printable(line[:start])
            marked = printable(line[start : self.end_col - 1])
            indent = " " * len(before)
            carets = "^" * max(1, len(marked))
            lines += [
                f"{gutter} {blue}|{reset}",
                f"{blue}{self.line} |{reset} {printable(line)}",
                f"{gutter} {blue}|{reset} {indent}{red}{carets}{reset}",
            ]
        if self.hint:
            lines.append(f"{gutter} {blue}={reset} hint: {printable(self.hint)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, str | int]:
        """Return all attributes by name."""
        return asdict(self)


def quote(text: str) -> str:
    """Quote a text of the file for a message: shortened, control characters escaped."""
    if len(text) > 60:
        text = text[:57] + "..."
    return json.dumps(text, ensure_ascii=not text.isprintable())


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store a text: no null bytes, no unpaired surrogates."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


MAX_BYTES = 1 << 20
_NEWLINE = re.compile(r"\r\n|\r|\n")


class Source:
    """One schema file and its diagnostics so far."""

    def __init__(self, file: str, data: bytes) -> None:
        """Decode the file. file: its name in messages, relative to the project, with "/"."""
        self.file = file
        self.data = data
        self.diagnostics: dict[Diagnostic, None] = {}  # an ordered set
        # Lines as Python's tokenizer counts them; str.splitlines splits at eight more characters.
        self.lines = _NEWLINE.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))

    def report(self, span: SourceSpan, problem: SchemaProblem) -> None:
        """Add one diagnostic; duplicates are ignored."""
        line = ""
        if span.line <= len(self.lines):
            line = self.lines[span.line - 1]
        diagnostic = Diagnostic(
            span.file,
            span.line,
            span.col,
            span.end_col,
            problem.code,
            problem.message,
            line,
            problem.hint,
        )
        self.diagnostics[diagnostic] = None

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> SourceSpan:
        """Return the range of a node on its first line."""
        line = self.lines[node.lineno - 1]
        start = _column(line, node.col_offset)
        end = len(line.rstrip())
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            end = _column(line, node.end_col_offset)
        return SourceSpan(self.file, node.lineno, start + 1, max(end, start + 1) + 1)

    @property
    def folder(self) -> str:
        """The name of the file's folder."""
        return PurePosixPath(self.file).parent.name

    @property
    def top(self) -> SourceSpan:
        """The range for problems of the whole file."""
        return SourceSpan(self.file, 1, 1, 2)

    def tree(self) -> ast.Module | None:
        """Return the syntax tree. Returns None after reporting why the file cannot be parsed."""
        if not self._is_text():
            self.report(self.top, problem("not_text", most=MAX_BYTES))
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # for example about an escape such as "\d"
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
    """Return the number of characters in the first `offset` bytes of a line."""
    if line.isascii():
        return offset
    before = line.encode()[:offset]
    return len(before.decode("utf-8", "ignore"))


def _syntax_span(file: str, err: SyntaxError) -> SourceSpan:
    line = max(err.lineno or 1, 1)
    col = max(err.offset or 1, 1)
    end_col = col + 1
    if err.end_lineno == err.lineno:
        end_col = max(end_col, err.end_offset or 0)
    return SourceSpan(file, line, col, end_col)


def read_source(path: Path, file: str) -> Source:
    """Read a file. If it cannot be read, the Source is empty and has a diagnostic."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would block
            raise OSError(errno.EINVAL, "it is not a regular file")
        return Source(file, path.read_bytes())
    except OSError as err:
        source = Source(file, b"")
        source.report(source.top, problem("not_openable", why=err.strerror))
        return source
