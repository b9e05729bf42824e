"""The order of a list, and the rows after a position in it, as SQL.

NULLs are last in ascending order and first in descending order, as in PostgreSQL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .resource import Column, Sort, quote

Order = tuple[Sort, ...]
Params = dict[str, Any]
Range = tuple[int, list[str]]

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


def order_by(order: Order, backwards: bool) -> str:
    """Return the ORDER BY clause."""
    keys = []
    for sort in order:
        key = _name(sort)
        if sort.descending != backwards:
            key += " desc"
        keys.append(key)
    return "\norder by " + ", ".join(keys)


def beyond(order: Order, at: Position | None, params: Params) -> list[Range]:
    """Return the rows strictly after the position, as ranges that do not overlap.

    Returns for each range the number of leading sort keys that its order does not need, because
    they are equal, and its conditions; their values are added to `params`.
    """
    if at is None or not at.keys:
        return [(0, [])]
    names = [_name(sort) for sort in order]
    marks = []
    for n, sort in enumerate(order):
        params[f"k{n}"] = at.keys[n]
        mark = f"%(k{n})s"
        if sort.column is RANK:
            mark += "::real"
        marks.append(mark)
    nullable = any(sort.column.nullable for sort in order)
    is_one_range = len({sort.descending for sort in order}) == 1
    if nullable and (len(order) != 2 or at.keys[0] is None):
        is_one_range = False
    if is_one_range:
        # PERF: a row comparison is one range on the index.
        sign = _sign(order[0], at)
        rows = f"({', '.join(names)}) {sign} ({', '.join(marks)})"
        if nullable and sign == ">":
            return [(0, [rows]), (0, [f"{names[0]} is null"])]
        return [(0, [rows])]
    ranges = []
    level: list[str] = []  # the keys before the n-th are equal
    # PERF: with all keys of their index, sorted ranges are merged, each as far as it is needed.
    step = 1
    if len(order) == 2:
        step = 0
    for n, (sort, name, mark) in enumerate(zip(order, names, marks)):
        sign = _sign(sort, at)
        if at.keys[n] is not None:
            ranges.append((n * step, [*level, f"{name} {sign} {mark}"]))
            if sort.column.nullable and sign == ">":
                ranges.append(((n + 1) * step, [*level, f"{name} is null"]))
            level.append(f"{name} = {mark}")
        else:
            if sign == "<":
                ranges.append((n * step, [*level, f"{name} is not null"]))
            level.append(f"{name} is null")
    return ranges


def _sign(sort: Sort, at: Position) -> str:
    """The operator between the key of a row and that of the position before it."""
    return "<" if sort.descending != at.backwards else ">"


def _name(sort: Sort) -> str:
    return RANKED if sort.column is RANK else quote(sort.column.name)
