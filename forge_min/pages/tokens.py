"""Splits the source of a page into tokens: text, string.Template placeholders, section markers.

`assemble` inserts the page into its layout, and included files into the page.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias

from ..errors import BuildError


class PageSource(NamedTuple):
    """A page file: its name in messages, and its text."""

    file: str
    text: str


class Token(NamedTuple):
    """One piece of a page.

    kind: "text", "value", or the first word of a marker.
    file: the page's name in messages.
    line, col: from 1.
    text: the literal text; the dotted name of a value, for or if; the file of an include or layout.
    variable: of a loop.
    negate: "not " or "".
    raw: "!raw" or "".
    context: the offset of the tag, attribute value or element that contains it, -1 outside of them.
    check: the function of wsgi.markup that checks a value at the beginning of a URL, else "".
    """

    kind: str
    file: str
    line: int
    col: int
    text: str = ""
    variable: str = ""
    negate: str = ""
    raw: str = ""
    context: int = -1
    check: str = ""


_NAME = r"[a-zA-Z][a-zA-Z0-9_]*"
_PATH = rf"{_NAME}(?:\.{_NAME})*"
_FILE = r"(?P<text>[a-zA-Z0-9_][a-zA-Z0-9_.-]*)"
# The line of a marker without other text is removed. The last part is string.Template's syntax.
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
    "block": rf"(?P<text>{_NAME})",
    "else": "",
    "end": "",
    "body": "",
}
_KNOWN = "for x in xs, if x, if not x, else, end, include a.html, layout b.html, body, block name"
DEPTH = {"for": 1, "if": 1, "block": 1, "end": -1}
_BODY = ""  # the name of the body among the blocks, as in the token of its marker


def fail(
    token: Token, code: str, message: str, hint: str | None = None, offset: int = 0
) -> NoReturn:
    """Raise a BuildError with the position of a token. offset: characters into its text."""
    before = token.text[:offset]
    line = token.line + before.count("\n")
    col = offset - before.rfind("\n") if "\n" in before else token.col + offset
    raise BuildError(f"{token.file}:{line}:{col}: {message}", code=code, hint=hint)


def tokenize(source: PageSource) -> list[Token]:
    """Return the tokens of one file.

    Raises BuildError F314 for an invalid placeholder or marker, and a keyword of Python.
    """
    tokens = []
    offset = 0
    for match in _PIECE.finditer(source.text):
        if match.start() > offset:
            tokens.append(_at(source, offset, "text", text=source.text[offset : match.start()]))
        if match["marker"] is None:
            tokens.append(_value(source, match))
        else:
            tokens.append(_marker(source, match))
        offset = match.end()
    if offset < len(source.text):
        tokens.append(_at(source, offset, "text", text=source.text[offset:]))
    return tokens


def _value(source: PageSource, match: re.Match[str]) -> Token:
    start = match.start()
    if match["dollar"]:
        return _at(source, start, "text", text="$")
    path = match["name"] or match["path"]
    if path is None:
        hint = "write $$ for a dollar sign, ${name} or ${name.attribute} for a value"
        fail(_at(source, start, "value"), "F314", '"$" does not begin a placeholder', hint)
    return _at(source, start, "value", text=path, raw=match["raw"] or "")


def _marker(source: PageSource, match: re.Match[str]) -> Token:
    start = match.start("marker") - len("<!--$")
    kind, *arguments = match["marker"].split(None, 1) or [""]
    words = re.fullmatch(_MARKERS.get(kind, "(?!)"), "".join(arguments).strip())
    if words is None or match["unclosed"] is not None:
        hint = f"known, each closed with -->: {_KNOWN}"
        fail(_at(source, start, kind), "F314", "the marker cannot be understood", hint)
    return _at(source, start, kind, **words.groupdict(""))


def _at(source: PageSource, offset: int, kind: str, **parts: Any) -> Token:
    line = source.text.count("\n", 0, offset) + 1
    col = offset - source.text.rfind("\n", 0, offset)
    token = Token(kind, source.file, line, col, **parts)
    if kind in ("value", "for", "if"):
        for word in (token.variable, *token.text.split(".")):
            if keyword.iskeyword(word):
                fail(token, "F314", f'"{word}" is a keyword of Python', "choose another name")
    return token


Load: TypeAlias = Callable[[str], PageSource | None]


def assemble(page: PageSource, load: Load) -> list[Token]:
    """Return the tokens of the page with its layout and included files.

    The blocks of a page replace those of its layout; the rest of the page is the body.

    load: returns a file by the name in a marker, None if it does not exist.
    Raises BuildError F316 for an invalid layout or include.
    """
    tokens = tokenize(page)
    while tokens and tokens[0].kind == "text" and not tokens[0].text.strip():
        del tokens[0]
    blocks = {}
    if tokens and tokens[0].kind == "layout":
        marker = tokens.pop(0)
        body = []
        for token, inner in _with_inner(tokens):
            if token.kind == "block":
                blocks[token.text] = inner
            else:
                body.append(token)
        blocks[_BODY] = body
        tokens = tokenize(_load(marker, load))
        _check_layout(marker, tokens, blocks)
    return list(_expand(tokens, blocks, load, (page.file,)))


def _check_layout(marker: Token, layout: list[Token], blocks: Mapping[str, list[Token]]) -> None:
    """Check that the layout shows each block of the page, and the body if there is one."""
    names = [token.text for token in layout if token.kind == "block"]
    for name in blocks:
        if name not in (_BODY, *names):
            hint = f"its blocks are {', '.join(names)}" if names else "it has no blocks"
            fail(marker, "F316", f'"{marker.text}" has no block "{name}"', hint)
    bodies = sum(token.kind == "body" for token in layout)
    is_optional = names and not any(token.text.strip() for token in blocks[_BODY])
    if bodies > 1 or not (bodies or is_optional):
        fail(marker, "F316", f'the layout "{marker.text}" needs <!--$body--> exactly once')


def _with_inner(tokens: Iterable[Token]) -> Iterator[tuple[Token, list[Token]]]:
    """Yield each token, and with a block the tokens inside it."""
    remaining = iter(tokens)
    for token in remaining:
        inner = []
        depth = 0
        if token.kind == "block":
            depth = 1
        while depth:
            following = next(remaining, None)
            if following is None:
                fail(token, "F314", "the block has no <!--$end-->")
            depth += DEPTH.get(following.kind, 0)
            inner.append(following)
        yield token, inner[:-1]


def _expand(
    tokens: Iterable[Token], blocks: Mapping[str, list[Token]], load: Load, within: tuple[str, ...]
) -> Iterator[Token]:
    """Replace each block and the body by those of the page, and includes by their files.

    within: the names of the page and of the included files around the tokens.
    """
    for token, inner in _with_inner(tokens):
        if token.kind == "layout":
            fail(token, "F316", "a page begins with its layout; a layout has none")
        elif token.kind == "block" and len(within) > 1:
            fail(token, "F316", "an included file has no blocks; a page and a layout may have some")
        elif token.kind == "body" and _BODY not in blocks:
            fail(token, "F316", "only a layout has a body, and a layout is not a page itself")
        elif token.kind in ("block", "body"):
            others = {name: block for name, block in blocks.items() if name != token.text}
            yield from _expand(blocks.get(token.text, inner), others, load, within)
        elif token.kind == "include":
            part = _load(token, load)
            if part.file in within:
                fail(token, "F316", f'"{token.text}" includes itself')
            yield from _expand(tokenize(part), {}, load, (*within, part.file))
        else:
            yield token


def _load(marker: Token, load: Load) -> PageSource:
    source = load(marker.text)
    if source is None:
        fail(marker, "F316", f'there is no file "{marker.text}" beside the page or in views/')
    return source
