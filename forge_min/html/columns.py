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
    return [
        field
        for field in display_fields(actions.resource)
        if field.column is not None and field.name not in hidden
        if field.kind != "uuid" or field.relation is not None
    ]


def list_columns(actions: AnyActions, chosen: Sequence[str] = ()) -> list[FormField]:
    """Return the columns of a list beside the title.

    chosen: the names of columns; by default the first short ones are shown, without those in the
        title, then updated_at.
    """
    fields = listed_fields(actions)
    if chosen:
        return [field for field in fields if field.name in chosen]
    titled = {p.column for p in parts_of(actions.title_template()) if not p.relation}
    times = [f for f in display_fields(actions.resource) if f.name == "updated_at"]
    short = [f for f in fields if f.kind not in _LONG and f.name not in titled]
    return (short + times)[:MAX_COLUMNS]


def title_column(actions: AnyActions) -> Column | None:
    """Return the first column of the resource itself in its title that the identity may see."""
    hidden = actions.hidden()
    columns = {c.name: c for c in actions.resource.columns if c.name not in hidden}
    own = [p.column for p in parts_of(actions.title_template()) if not p.relation]
    return next((columns[name] for name in own if name in columns), None)
