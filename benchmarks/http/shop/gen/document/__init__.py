"""Document, generated from resources/document/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import DocumentActions
from .model import DocumentCreate, DocumentFilter, DocumentRow, DocumentUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "DocumentActions",
    "DocumentCreate",
    "DocumentFilter",
    "DocumentRow",
    "DocumentUpdate",
    "to_json",
]
