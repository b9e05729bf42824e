"""The order of a list, and the rows after a position in it, as SQL.

NULLs are last in ascending order and first in descending order, as in PostgreSQL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .resource import Column, Sort, quote

Order = tuple[Sort, ...]
Params = dict[str, Any]

# How well a row matches the words: the sort key of a search without `sort`.
RANK = Column("forge_rank", "string", nullable=False)
WORDS = (  # forge_prefix: ":*" after the last lexeme matches every word that begins with it
    "regexp_replace(websearch_to_tsquery('simple', %(forge_q)s)::text, '''$',"
    " '''' || %(forge_prefix)s::text)::tsquery"
)
RANKED = f'ts_rank("forge_search", {WORDS})'


class Position(NamedTuple):
    """A position between two rows of a list.

    keys: the sort keys of a row; () for the end of the list.
    backwards: whether it is before this row instead of after it.
    """

    keys: tuple[Any, ...]
    backwards: bool = False


def order_by(order: Order, backwards: bool = False) -> str:
    """Return the ORDER BY clause."""
    keys = (_name(s) + (" desc" if s.descending != backwards else "") for s in order)
    return "\norder by " + ", ".join(keys)


def beyond(order: Order, at: Position | None, params: Params) -> list[tuple[int, list[str]]]:
    """Return the rows strictly after the position, as ranges that do not overlap.

    Returns for each range the number of leading sort keys that its order does not need, because
    they are equal, and its conditions; their values are added to `params`.
    """
    if at is None or not at.keys:
        return [(0, [])]
    params.update((f"k{n}", value) for n, value in enumerate(at.keys))
    marks = [f"%(k{n})s" + ("::real" if s.column is RANK else "") for n, s in enumerate(order)]
    names = [_name(s) for s in order]
    nullable = any(s.column.nullable for s in order)
    is_indexed = not nullable or (len(order) == 2 and at.keys[0] is not None)
    if is_indexed and len({s.descending for s in order}) == 1:
        # PERF: a row comparison is one range on the index.
        descending = order[0].descending != at.backwards
        rows = f"({', '.join(names)}) {'<' if descending else '>'} ({', '.join(marks)})"
        nulls = [(0, [f"{names[0]} is null"])]
        return [(0, [rows]), *(nulls if nullable and not descending else [])]
    ranges: list[tuple[int, list[str]]] = []
    level: list[str] = []  # the keys before the n-th are equal
    # PERF: with all keys of their index, sorted ranges are merged, each as far as it is needed.
    step = 0 if len(order) == 2 else 1
    for n, (sort, value, name, mark) in enumerate(zip(order, at.keys, names, marks)):
        descending = sort.descending != at.backwards
        if value is not None:
            ranges.append((n * step, [*level, f"{name} {'<' if descending else '>'} {mark}"]))
            if sort.column.nullable and not descending:
                ranges.append(((n + 1) * step, [*level, f"{name} is null"]))
        elif descending:
            ranges.append((n * step, [*level, f"{name} is not null"]))
        level.append(f"{name} is null" if value is None else f"{name} = {mark}")
    return ranges


def _name(sort: Sort) -> str:
    return RANKED if sort.column is RANK else quote(sort.column.name)
