"""One page out of its files: the layout around it, and the parts that it includes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

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
