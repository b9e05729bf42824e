"""The base of generated code: resources as data, validation, list queries and actions.

Each write is one statement.
"""

from ..fanout import iso_utc, uuid_text
from ..jobs import JobHook
from ..temporal import format_duration
from .actions import Actions
from .aggregate import AggregateQuery
from .base import TOO_LARGE, Limits, scope
from .check import Check, KeyChanges, rules_of
from .idempotency import IN_PROGRESS
from .lists import INDEXES, LAST, MOST_RELATED, explain_page, explain_rows, shape_of
from .query import DEFAULT_LIMIT, MAX_COUNT, MAX_WALKED, Filter, ListQuery, names_in
from .registry import Registry
from .resource import (
    ANYBODY,
    Column,
    DeclaredReport,
    Page,
    Relation,
    Resource,
    Rule,
    Sort,
    Transition,
    quote,
)
from .rule import RowChange
from .values import EXACT, JSON_DEPTH, TYPES, limit_of, shown_text, to_text, uuid7
from .writer import ANY_VERSION, Upserted

__all__ = [
    "ANYBODY", "ANY_VERSION", "Actions", "AggregateQuery", "Check", "Column", "DEFAULT_LIMIT",
    "DeclaredReport", "EXACT", "Filter", "INDEXES", "IN_PROGRESS", "JSON_DEPTH", "JobHook",
    "KeyChanges", "LAST", "Limits", "ListQuery", "MAX_COUNT", "MAX_WALKED",
    "MOST_RELATED", "Page", "Registry", "Relation", "Resource", "RowChange", "Rule", "Sort",
    "TOO_LARGE", "TYPES", "Transition", "Upserted", "explain_page", "explain_rows",
    "format_duration", "iso_utc", "limit_of", "names_in", "quote", "rules_of", "scope", "shape_of",
    "shown_text", "to_text", "uuid7", "uuid_text",
]  # fmt: skip
