"""The rows that a relation may lead to, for people: few to choose from, many to search in."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from ...actions import Actions, Filter, ListQuery, Sort
from ...errors import NotFound

FEW = 50  # rows that fit a list to choose from
FOUND = 20  # rows that a search shows
Target = Actions[Any, Any, Any]


class Choice(NamedTuple):
    """One row. value: its key as text."""

    value: str
    label: str


def few(target: Target) -> list[Choice] | None:
    """All rows by label; None if there are more than FEW, or too large ones for one list. Raises
    Unauthenticated, Forbidden.
    """
    page = target.list(ListQuery(limit=FEW))
    if page.next is not None:
        return None
    return sorted(_choices(target, page.rows), key=lambda choice: choice.label.casefold())


def search(target: Target, words: str) -> list[Choice]:
    """The FOUND best rows for these words: by full-text search where there is one, then by what the
    label contains. Raises Unauthenticated, Forbidden.
    """
    words, rows, column = words.strip()[:200], [], target.label_column()
    if not words or "\0" in words:
        return []
    if target.resource.searchable:
        rows = target.list(ListQuery(limit=FOUND, q=words)).rows
    if not rows and column is not None:
        contains = (Filter(column, "contains", words),)
        rows = target.list(ListQuery(contains, (Sort(column),), FOUND)).rows
    return _choices(target, rows)


def named(target: Target, keys: Iterable[str]) -> list[Choice]:
    """The rows of these keys, those that there are. Raises Unauthenticated, Forbidden."""
    read = []
    for key in keys:
        with suppress(NotFound):
            read.append(target.read_key(key))
    if not read:
        return []
    return _choices(target, target.stream(ListQuery((Filter(target.resource.key, "in", read),))))


def _choices(target: Target, rows: Iterable[Any]) -> list[Choice]:
    return [Choice(str(target.key_of(row)), target.label(row)) for row in rows]
