"""What generated code stands on: the resource as data, validation, list queries, and the one
statement of a write.
"""

from ..fanout import iso_utc, uuid_text
from ..jobs import JobHook
from .actions import Actions
from .base import TOO_LARGE, Limits
from .check import Check, LinkChanges, rules_of
from .reading.query import MAX_PAGE, MOST_RELATED, Filter, ListQuery
from .registry import Registry
from .resource import Column, Page, Relation, Resource, Sort
from .values import JSON_DEPTH, TYPES, to_text, uuid7
from .writing import ANY_VERSION, Upserted

__all__ = [
    "ANY_VERSION", "Actions", "Check", "Column", "Filter", "JSON_DEPTH", "JobHook", "Limits",
    "LinkChanges", "ListQuery", "MAX_PAGE", "MOST_RELATED", "Page", "Registry", "Relation",
    "Resource", "Sort", "TOO_LARGE", "TYPES", "Upserted", "iso_utc", "rules_of", "to_text", "uuid7",
    "uuid_text",
]  # fmt: skip
