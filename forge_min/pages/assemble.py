"""One page out of its files: the layout around it, and the parts that it includes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn, TypeAlias

from .tokens import PageSource, Token, fail, tokenize

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
    else:
        tokens = list(_without_body(tokens))
    return list(_included(tokens, load, (page.file,)))


def _without_body(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.kind == "body":
            _fail(token, "this file is a layout: a page names it, it is no page itself")
        yield token


def _around(marker: Token, body: list[Token], load: Load) -> list[Token]:
    layout = tokenize(_load(marker, load))
    places = [at for at, token in enumerate(layout) if token.kind == "body"]
    if len(places) != 1:
        _fail(marker, f'the layout "{marker.text}" needs <!--$body--> exactly once')
    before, after = layout[: places[0]], layout[places[0] + 1 :]
    return [*before, *_without_body(body), *after]


def _included(tokens: list[Token], load: Load, within: tuple[str, ...]) -> Iterator[Token]:
    for token in tokens:
        if token.kind == "layout":
            _fail(token, "a layout is named once, first in a page; layouts do not nest")
        if token.kind != "include":
            yield token
            continue
        part = _load(token, load)
        if part.file in within:
            _fail(token, f'"{token.text}" includes itself')
        yield from _included(list(_without_body(tokenize(part))), load, (*within, part.file))


def _load(marker: Token, load: Load) -> PageSource:
    found = load(marker.text)
    if found is None:
        _fail(marker, f'there is no file "{marker.text}" beside the page or in views/')
    return found


def _fail(token: Token, message: str) -> NoReturn:
    fail(token.file, token.line, token.col, "F316", message)
