"""The columns of lists: which fields they show, and the one by which the title is sorted."""

from __future__ import annotations

from collections.abc import Sequence

from ..actions import Column
from .fields import AnyActions, FormField, display_fields
from .titles import parts_of

MAX_COLUMNS = 6  # of a list beside the title; a row's page has all
_LONG = ("json", "text", "many")  # kinds that do not fit a cell
_SYSTEM = ("version", "created_at", "updated_at", "deleted_at", "created_by")


def listed_fields(actions: AnyActions) -> list[FormField]:
    """Return the columns that lists may show, without system times and plain UUIDs."""
    hidden = {*actions.hidden(), *_SYSTEM}
    fields = []
    for field in display_fields(actions.resource):
        if field.column is None or field.name in hidden:
            continue
        if field.kind != "uuid" or field.relation is not None:
            fields.append(field)
    return fields


def list_columns(actions: AnyActions, chosen: Sequence[str] = ()) -> list[FormField]:
    """Return the columns of a list beside the title.

    chosen: the names of columns; by default the first short ones are shown, without those in the
        title, then updated_at.
    """
    fields = listed_fields(actions)
    if chosen:
        return [field for field in fields if field.name in chosen]
    titled = _columns_of_title(actions)
    columns = [f for f in fields if f.kind not in _LONG and f.name not in titled]
    columns += [f for f in display_fields(actions.resource) if f.name == "updated_at"]
    return columns[:MAX_COLUMNS]


def title_column(actions: AnyActions) -> Column | None:
    """Return the first column of the resource itself in its title that the identity may see."""
    hidden = actions.hidden()
    columns = actions.resource.by_name
    for name in _columns_of_title(actions):
        if name in columns and name not in hidden:
            return columns[name]
    return None


def _columns_of_title(actions: AnyActions) -> list[str]:
    """Return the names of the columns of the resource itself in its title."""
    parts = parts_of(actions.title_template())
    return [part.column for part in parts if not part.relation]
