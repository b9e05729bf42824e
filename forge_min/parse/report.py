"""The checks of schema.report, and the names by which clients group rows and compute.

`actions.aggregate` offers the same names to clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import schema
from ..resources import table
from .diagnostic import is_storable, problem, quote
from .ir import TYPES, ColumnIR, ResourceIR
from .names import unknown
from .rules import Problems, value_of

_FUNCTIONS = table("forge_min", "aggregates.toml")


def aggregate_names(columns: Mapping[str, ColumnIR]) -> tuple[list[str], list[str]]:
    """Return the names by which clients may group, and of all that they may compute.

    columns: by the names of their fields.
    """
    groups = []
    measures = ["count"]
    for name, column in columns.items():
        if column.aggregatable:
            groups.append(name)
            groups.extend(
                f"{period}({name})" for period in _FUNCTIONS["periods"].get(column.type, ())
            )
            measures.extend(
                f"{function}({name})" for function in _FUNCTIONS["measures"].get(column.type, ())
            )
    return groups, measures


def report_problems(report: schema.Report, resource: ResourceIR) -> Problems:
    """Yield the problems of a report. resource: as resolved."""
    columns = {column.column: column for column in resource.columns}
    if any(report.name in states.verbs for states in resource.states):
        yield "name", problem("report_operation", name=quote(report.name))
    if not report.measures:
        yield "measures", problem("report_size")
    elif not 1 <= len(report.group) <= 2:
        yield "group", problem("report_size")
    groups, measures = aggregate_names(columns)
    yield from _name_problems("group", report.group, groups)
    yield from _name_problems("measures", report.measures, measures)
    filters = {
        name: column
        for name, column in columns.items()
        if column.filterable and not column.visible_to
    }
    for key, value in (report.filters or {}).items():
        name = key.partition("[")[0]
        if name not in filters:
            yield "filters", unknown("no_filter", name, filters)
        elif not _fits(filters[name], key.removeprefix(name), value):
            yield "filters", problem("filter_value", key=quote(key), type=filters[name].type)


def _name_problems(option: str, names: Sequence[str], choices: list[str]) -> Problems:
    for index, name in enumerate(names):
        if name in choices:
            choices.remove(name)  # each at most once
        else:
            yield f"{option}.{index}", unknown("no_aggregate", name, choices)


def _fits(column: ColumnIR, operator: str, value: object) -> bool:
    """Whether a condition is possible. operator: "" or as in "[gte]"."""
    match operator, value:
        case ("[is_null]", bool()) | ("" | "[eq]", None):
            return True
        case "[contains]", _:
            return "contains" in TYPES[column.type]["operators"] and _is_value(column, value)
        case _ if column.is_array:
            return False
        case "[in]", list() | tuple():
            return all(_is_value(column, item) for item in value)
        case "" | "[eq]" | "[ne]" | "[gt]" | "[gte]" | "[lt]" | "[lte]", _:
            return _is_value(column, value)
    return False


def _is_value(column: ColumnIR, value: object) -> bool:
    """Whether a filter may have the value; of an array, an entry. A text may match no row."""
    kind = column.type.removesuffix("[]")
    if type(value).__name__ not in TYPES[kind].get("python", ["str"]):
        return False
    if isinstance(value, str) and not is_storable(value):
        return False
    if column.choices:
        return value in column.choices
    return "contains" in TYPES[kind]["operators"] or value_of(kind, value) is not None
