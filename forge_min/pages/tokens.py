"""A page's source as tokens: text, placeholders of string.Template, and section markers.

`assemble` puts the layout around a page, and the parts that it includes into it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias

from ..errors import BuildError


class PageSource(NamedTuple):
    """A page file: its name in messages, and its text."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a page.

    kind: "text", "value", or the first word of a marker. line, col: from 1. text: the literal text,
    the dotted name of a value, for or if, or the file of an include or layout. variable: the
    loop's. negate: "not " or "". raw: "!raw" or "".
    """

    kind: str
    file: str
    line: int
    col: int
    text: str = ""
    variable: str = ""
    negate: str = ""
    raw: str = ""


_NAME = r"[a-zA-Z][a-zA-Z0-9_]*"
_PATH = rf"{_NAME}(?:\.{_NAME})*"
_FILE = r"(?P<text>[a-zA-Z0-9_][a-zA-Z0-9_.-]*)"
# A marker alone on its line takes the line with it. What follows is string.Template's syntax.
_PIECE = re.compile(
    r"(?P<alone>^[ \t]*)?<!--\$(?P<marker>(?:(?!-->).)*)(?:-->|(?P<unclosed>\Z))"
    r"(?(alone)[ \t]*(?:\r?\n|\Z))"
    rf"|\$(?:(?P<dollar>\$)|(?P<name>{_NAME})|\{{(?P<path>{_PATH})(?P<raw>!raw)?\}}|)",
    re.M | re.S,
)
_MARKERS = {
    "for": rf"(?P<variable>{_NAME})\s+in\s+(?P<text>{_PATH})",
    "if": rf"(?P<negate>not )?\s*(?P<text>{_PATH})",
    "include": _FILE,
    "layout": _FILE,
    "else": "",
    "end": "",
    "body": "",
}
_KNOWN = "for x in xs, if x, if not x, else, end, include part.html, layout base.html, body"


def fail(
    token: Token, code: str, message: str, hint: str | None = None, offset: int = 0
) -> NoReturn:
    """Raise the BuildError of a token's place. offset: characters into its literal text."""
    before = token.text[:offset]
    line = token.line + before.count("\n")
    col = offset - before.rfind("\n") if "\n" in before else token.col + offset
    raise BuildError(f"{token.file}:{line}:{col}: {message}", code=code, hint=hint)


def tokenize(source: PageSource) -> list[Token]:
    """The tokens of one file. BuildError F314 for a wrong placeholder, F315 for a wrong marker,
    F318 for a word of Python."""
    tokens, at = [], 0
    for found in _PIECE.finditer(source.text):
        if found.start() > at:
            tokens.append(_at(source, at, "text", text=source.text[at : found.start()]))
        read = _value if found["marker"] is None else _marker
        tokens.append(read(source, found))
        at = found.end()
    if at < len(source.text):
        tokens.append(_at(source, at, "text", text=source.text[at:]))
    return tokens


def _value(source: PageSource, found: re.Match[str]) -> Token:
    path = found["name"] or found["path"]
    if found["dollar"]:
        return _at(source, found.start(), "text", text="$")
    if path is None:
        hint = "write $$ for a dollar sign, ${name} or ${name.attribute} for a value"
        fail(_at(source, found.start(), "value"), "F314", '"$" begins no placeholder', hint)
    return _at(source, found.start(), "value", text=path, raw=found["raw"] or "")


def _marker(source: PageSource, found: re.Match[str]) -> Token:
    start = found.start("marker") - len("<!--$")
    kind, rest = (*found["marker"].split(None, 1), "", "")[:2]
    words = re.fullmatch(_MARKERS.get(kind, "(?!)"), rest.strip())
    if words is None or found["unclosed"] is not None:
        hint = f"known, each closed with -->: {_KNOWN}"
        fail(_at(source, start, kind), "F315", "the marker cannot be understood", hint)
    return _at(source, start, kind, **words.groupdict(""))


def _at(source: PageSource, at: int, kind: str, **parts: str) -> Token:
    line, col = source.text.count("\n", 0, at) + 1, at - source.text.rfind("\n", 0, at)
    token = Token(kind, source.file, line, col, **parts)
    for word in [token.variable, *token.text.split(".")]:
        if kind in ("value", "for", "if") and keyword.iskeyword(word):
            fail(token, "F318", f'"{word}" is a word of Python', "choose another name")
    return token


Load: TypeAlias = Callable[[str], PageSource | None]


def assemble(page: PageSource, load: Load) -> list[Token]:
    """The tokens of the page with layout and includes in place. BuildError F316 where they fail.

    load: gives a file by the name in a marker, None when there is none.
    """
    tokens = tokenize(page)
    while tokens and tokens[0].kind == "text" and not tokens[0].text.strip():
        del tokens[0]
    if tokens and tokens[0].kind == "layout":
        tokens = _around(tokens[0], tokens[1:], load)
    return list(_included(tokens, load, (page.file,)))


def _around(marker: Token, body: list[Token], load: Load) -> list[Token]:
    layout = tokenize(_load(marker, load))
    places = [at for at, token in enumerate(layout) if token.kind == "body"]
    if len(places) != 1:
        fail(marker, "F316", f'the layout "{marker.text}" needs <!--$body--> exactly once')
    return [*layout[: places[0]], *body, *layout[places[0] + 1 :]]


def _included(tokens: list[Token], load: Load, within: tuple[str, ...]) -> Iterator[Token]:
    for token in tokens:
        if token.kind == "layout":
            fail(token, "F316", "a layout is named once, first in a page; layouts do not nest")
        elif token.kind == "body":
            fail(token, "F316", "only a layout has a body: a page names it, it is no page itself")
        elif token.kind == "include":
            part = _load(token, load)
            if part.file in within:
                fail(token, "F316", f'"{token.text}" includes itself')
            yield from _included(tokenize(part), load, (*within, part.file))
        else:
            yield token


def _load(marker: Token, load: Load) -> PageSource:
    found = load(marker.text)
    if found is None:
        fail(marker, "F316", f'there is no file "{marker.text}" beside the page or in views/')
    return found
