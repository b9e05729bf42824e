"""What generated code stands on: the resource as data, validation, list queries, and the one
statement of a write.
"""

from ..fanout import iso_utc, uuid_text
from ..jobs import JobHook
from .actions import Actions
from .base import Limits
from .check import Check
from .reading.query import MOST_RELATED, Filter, ListQuery
from .registry import Registry
from .resource import Column, Page, Relation, Resource, Sort
from .values import uuid7
from .writing import ANY_VERSION, Upserted

__all__ = [
    "ANY_VERSION", "MOST_RELATED", "Actions", "Check", "Column", "Filter", "JobHook", "Limits",
    "ListQuery", "Page", "Registry", "Relation", "Resource", "Sort", "Upserted", "iso_utc", "uuid7",
    "uuid_text",
]  # fmt: skip
