"""The checks of schema.report, and the names by which clients group rows and compute.

`actions.aggregate` offers the same names to clients.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from .. import schema
from ..resources import table
from .diagnostic import SchemaProblem, is_storable, problem, quote
from .ir import TYPES, ColumnIR
from .names import did_you_mean
from .rules import value_of

_FUNCTIONS = table("forge_min", "aggregates.toml")
_ALL = sys.maxsize
_ENTRIES: Mapping[str, schema.FieldType] = {"string[]": "string", "int[]": "int", "enum[]": "enum"}
Columns = Mapping[str, ColumnIR]  # by the names of their fields


def aggregate_names(columns: Columns) -> tuple[list[str], list[str]]:
    """Return the names by which clients may group, and of all that they may compute."""
    groups, measures = [], ["count"]
    for name, column in columns.items():
        if column.aggregatable:
            periods = _FUNCTIONS["periods"].get(column.type, ())
            functions = _FUNCTIONS["measures"].get(column.type, ())
            groups += [name, *(f"{period}({name})" for period in periods)]
            measures += [f"{function}({name})" for function in functions]
    return groups, measures


def report_problems(
    report: schema.Report, columns: Columns
) -> Iterator[tuple[str, int, SchemaProblem]]:
    """Yield each problem with its option, and the index of the wrong item; _ALL for the option."""
    if not 1 <= len(report.group) <= 2 or not report.measures:
        yield "group" if report.measures else "measures", _ALL, problem("report_size")
    groups, measures = aggregate_names(columns)
    for option, known in {"group": groups, "measures": measures}.items():
        for index, name in enumerate(getattr(report, option)):
            if name in known:
                known.remove(name)  # each at most once
            else:
                hint = did_you_mean(name, known)
                yield option, index, problem("no_aggregate", name=quote(name), hint=hint)
    filters = {name: c for name, c in columns.items() if c.filterable and not c.visible_to}
    for key, value in (report.filters or {}).items():
        name = key.partition("[")[0]
        if name not in filters:
            hint = did_you_mean(name, filters)
            yield "filters", _ALL, problem("no_filter", name=quote(name), hint=hint)
        elif not _fits(filters[name], key.removeprefix(name), value):
            wrong = problem("filter_value", key=quote(key), type=filters[name].type)
            yield "filters", _ALL, wrong


def _fits(column: ColumnIR, operator: str, value: object) -> bool:
    """Whether a condition is possible. operator: "" or as in "[gte]"."""
    match operator, value:
        case ("[is_null]", bool()) | ("" | "[eq]", None):
            return True
        case "[in]", list() | tuple():
            return all(_is_value(column, item) for item in value)
        case ("[contains]", _) if column.is_array:
            return _is_value(replace(column, type=_ENTRIES[column.type]), value)
        case _ if column.is_array:
            return False
        case "[contains]", _:
            return "contains" in TYPES[column.type] and _is_value(column, value)
        case "" | "[eq]" | "[ne]" | "[gt]" | "[gte]" | "[lt]" | "[lte]", _:
            return _is_value(column, value)
    return False


def _is_value(column: ColumnIR, value: object) -> bool:
    """Whether a filter may have the value. A text may be one that no row has."""
    kinds = TYPES[column.type].get("python", ["str"])
    if type(value).__name__ not in kinds or isinstance(value, str) and not is_storable(value):
        return False
    if column.choices:
        return value in column.choices
    return "contains" in TYPES[column.type] or value_of(column.type, value) is not None
