"""A page's source as tokens: text, placeholders of string.Template, and section markers."""

from __future__ import annotations

import bisect
import keyword
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from ..errors import BuildError

Kind = Literal["text", "value", "for", "if", "else", "end", "include", "layout", "body"]


class PageSource(NamedTuple):
    """A page file: its name in messages, and its text."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a page.

    text: the literal text, the dotted name of a value, for or if, or the file of an include or
    layout. variable: the loop's. negate: `if not`. raw: `!raw`. line, col: from 1.
    """

    kind: Kind
    text: str
    file: str
    line: int
    col: int
    variable: str = ""
    negate: bool = False
    raw: bool = False


class _Page(string.Template):
    """string.Template whose braces also take `name.attribute` and `name!raw`."""

    flags = re.ASCII
    idpattern = r"[a-zA-Z][a-zA-Z0-9_]*"
    braceidpattern = r"[a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)*(?:!raw)?"


_PATH = r"[a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)*"
# A marker alone on its line takes the line with it.
_ALONE = r"^[ \t]*<!--\$((?:(?!-->)[^\n])*)-->[ \t]*(?:\r?\n|\Z)"
_MARKER = re.compile(_ALONE + r"|<!--\$(.*?)-->", re.M | re.S)
_FOR = re.compile(rf"for\s+([a-zA-Z][a-zA-Z0-9_]*)\s+in\s+({_PATH})")
_IF = re.compile(rf"if\s+(not\s+)?({_PATH})")
_FILE = re.compile(r"(include|layout)\s+([a-zA-Z0-9_][a-zA-Z0-9_.-]*)")
_MARKERS = "for x in xs, if x, if not x, else, end, include part.html, layout base.html, body"


def fail(
    file: str, line: int, col: int, code: str, message: str, hint: str | None = None
) -> NoReturn:
    """Raise the BuildError of a place in a page."""
    raise BuildError(f"{file}:{line}:{col}: {message}", code=code, hint=hint)


def tokenize(source: PageSource) -> list[Token]:
    """The tokens of one file. BuildError F314 for a wrong placeholder, F315 for a wrong marker."""
    return list(_Reader(source).tokens())


class _Reader:
    """Goes once through one file."""

    def __init__(self, source: PageSource) -> None:
        self._file, self._text = source
        self._lines = [0] + [m.end() for m in re.finditer("\n", self._text)]

    def tokens(self) -> Iterator[Token]:
        at = 0
        for marker in _MARKER.finditer(self._text):
            yield from self._values(at, marker.start())
            words = marker[2] if marker[1] is None else marker[1]
            yield self._marker(words.strip(), self._text.index("<!--$", marker.start()))
            at = marker.end()
        unclosed = self._text.find("<!--$", at)
        if unclosed >= 0:
            self._fail(unclosed, "F315", "the marker has no end", "close it with -->")
        yield from self._values(at, len(self._text))

    def _values(self, start: int, end: int) -> Iterator[Token]:
        at = start
        for found in _Page.pattern.finditer(self._text, start, end):
            name = found["named"] or found["braced"]
            if found["escaped"]:
                yield from self._literal(at, found.start(), "$")
            elif name is None:
                hint = "write $$ for a dollar sign, ${name} or ${name.attribute} for a value"
                self._fail(found.start(), "F314", '"$" begins no placeholder', hint)
            else:
                yield from self._literal(at, found.start())
                plain = name.removesuffix("!raw")
                self._check(plain, found.start())
                yield self._token("value", plain, found.start(), raw=plain != name)
            at = found.end()
        yield from self._literal(at, end)

    def _literal(self, start: int, end: int, more: str = "") -> Iterator[Token]:
        text = self._text[start:end] + more
        if text:
            yield self._token("text", text, start)

    def _marker(self, words: str, at: int) -> Token:
        if words in ("else", "end", "body"):
            return self._token(words, "", at)  # type: ignore[arg-type]
        if loop := _FOR.fullmatch(words):
            self._check(loop[1], at)
            self._check(loop[2], at)
            return self._token("for", loop[2], at, variable=loop[1])
        if condition := _IF.fullmatch(words):
            self._check(condition[2], at)
            return self._token("if", condition[2], at, negate=bool(condition[1]))
        if other := _FILE.fullmatch(words):
            return self._token(other[1], other[2], at)  # type: ignore[arg-type]
        return self._fail(at, "F315", "the marker cannot be understood", f"known: {_MARKERS}")

    def _check(self, path: str, at: int) -> None:
        for word in path.split("."):
            if keyword.iskeyword(word):
                self._fail(at, "F318", f'"{word}" is a word of Python', "choose another name")

    def _token(
        self,
        kind: Kind,
        text: str,
        at: int,
        *,
        variable: str = "",
        negate: bool = False,
        raw: bool = False,
    ) -> Token:
        line, col = self._place(at)
        return Token(kind, text, self._file, line, col, variable, negate, raw)

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    def _fail(self, at: int, code: str, message: str, hint: str | None = None) -> NoReturn:
        fail(self._file, *self._place(at), code, message, hint)
