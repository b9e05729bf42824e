"""A source file as text, lines and syntax tree; where every place in it gets its Span."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from pathlib import Path

from ..diagnostic import Diagnostic
from ..ir import Span

MAX_BYTES = 1 << 20
_NEWLINE = re.compile(r"\r\n|\r|\n")


class Source:
    """One schema file and the diagnostics found in it so far."""

    def __init__(self, file: str, data: bytes) -> None:
        """file: its name in messages, relative to the project, with "/"."""
        self.file = file
        self.data = data
        self.diagnostics: list[Diagnostic] = []
        # The lines as Python's tokenizer counts them: str.splitlines knows eight more line ends.
        self.lines = _NEWLINE.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))

    def report(self, span: Span, code: str, message: str, hint: str = "") -> None:
        """Note one diagnostic."""
        line = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else ""
        place = (span.file, span.line, span.col, span.end_col)
        found = Diagnostic(code, message, *place, line, hint)
        if found not in self.diagnostics:
            self.diagnostics.append(found)

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> Span:
        """The place of a node, on its first line."""
        line = self.lines[node.lineno - 1]
        data = line.encode()
        start = len(data[: node.col_offset].decode("utf-8", "ignore"))
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            end = len(data[: node.end_col_offset].decode("utf-8", "ignore"))
        else:
            end = len(line.rstrip())
        return Span(self.file, node.lineno, start + 1, max(end, start + 1) + 1)

    @property
    def top(self) -> Span:
        """The file as a whole."""
        return Span(self.file, 1, 1, 2)

    def tree(self) -> ast.Module | None:
        """The syntax tree; None when there is none, and the reason was reported."""
        if not self._is_text():
            message = f"the file is not UTF-8 text of at most {MAX_BYTES} bytes"
            self.report(self.top, "F102", message, "save it as plain UTF-8, without null bytes")
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an escape such as "\d" is the user's own affair
                return ast.parse(self.data.decode("utf-8-sig"))
        except SyntaxError as err:
            self.report(_syntax_span(self.file, err), "F101", f"syntax error: {err.msg}")
        except (RecursionError, MemoryError, ValueError):
            message = "the file cannot be read as Python"
            self.report(self.top, "F102", message, "nest it less deeply")
        return None

    def _is_text(self) -> bool:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(self.data).readline)
            self.data.decode("utf-8-sig")
        except (SyntaxError, UnicodeDecodeError):
            return False
        plain = encoding in ("utf-8", "utf-8-sig") and b"\0" not in self.data
        return plain and len(self.data) <= MAX_BYTES


def _syntax_span(file: str, err: SyntaxError) -> Span:
    line, col = max(err.lineno or 1, 1), max(err.offset or 1, 1)
    end = err.end_offset or 0
    same_line = err.end_lineno == err.lineno
    return Span(file, line, col, end if same_line and end > col else col + 1)


def read_source(path: Path, file: str) -> Source:
    """The file at `path`; one that cannot be read is an empty Source with the reason reported."""
    try:
        return Source(file, path.read_bytes())
    except OSError as err:
        source = Source(file, b"")
        source.report(source.top, "F102", f"the file cannot be read: {err.strerror}")
        return source
