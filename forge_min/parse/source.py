"""A source file as text, lines and syntax tree; where every place in it gets its Span."""

from __future__ import annotations

import ast
import errno
import io
import re
import tokenize
import warnings
from pathlib import Path, PurePosixPath

from .diagnostic import Diagnostic, Problem, Span, problem

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

    def report(self, span: Span, said: Problem) -> None:
        """Note one diagnostic; the same one twice is one."""
        line = self.lines[span.line - 1] if span.line <= len(self.lines) else ""
        place = (span.file, span.line, span.col, span.end_col)
        self.diagnostics[Diagnostic(*place, said.code, said.message, line, said.hint)] = None

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
