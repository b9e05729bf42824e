"""What generated code stands on: the resource as data, validation, list queries, and the one
statement of a write.
"""

from .actions import Actions
from .check import Check
from .reading.query import ListQuery
from .registry import Registry
from .resource import Column, JobHook, Page, Relation, Resource
from .values import iso_utc
from .writing import Upserted, uuid7

__all__ = [
    "Actions", "Check", "Column", "JobHook", "ListQuery", "Page", "Registry", "Relation",
    "Resource", "Upserted", "iso_utc", "uuid7",
]  # fmt: skip
