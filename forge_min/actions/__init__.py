"""What generated code stands on: the resource as data, validation, list queries, and the one
statement of a write.
"""

from .actions import Actions
from .check import Check
from .query import ListQuery
from .registry import Registry
from .resource import Column, JobHook, Page, Resource
from .uuid7 import uuid7
from .values import iso_utc

__all__ = [
    "Actions",
    "Check",
    "Column",
    "JobHook",
    "ListQuery",
    "Page",
    "Registry",
    "Resource",
    "iso_utc",
    "uuid7",
]
