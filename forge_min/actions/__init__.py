"""The base of generated code: resources as data, validation, list queries and actions.

Each write is one statement.
"""

from ..fanout import iso_utc, uuid_text
from ..jobs import JobHook
from .actions import Actions
from .aggregate import AggregateQuery
from .base import TOO_LARGE, Limits, scope
from .check import Check, KeyChanges, rules_of
from .query import MAX_PAGE, MOST_RELATED, Filter, ListQuery
from .registry import Registry
from .resource import ANYBODY, Column, DeclaredReport, Page, Relation, Resource, Rule, Sort, quote
from .values import JSON_DEPTH, TYPES, to_text, uuid7
from .writer import ANY_VERSION, Upserted

__all__ = [
    "ANYBODY", "ANY_VERSION", "Actions", "AggregateQuery", "Check", "Column", "DeclaredReport",
    "Filter", "JSON_DEPTH", "JobHook", "KeyChanges", "Limits", "ListQuery", "MAX_PAGE",
    "MOST_RELATED", "Page", "Registry", "Relation", "Resource", "Rule", "Sort", "TOO_LARGE",
    "TYPES", "Upserted", "iso_utc", "quote", "rules_of", "scope", "to_text", "uuid7", "uuid_text",
]  # fmt: skip
