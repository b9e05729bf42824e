"""Item, generated from resources/item/schema.py. Do not edit: the next `forge-min generate` writes it anew."""

from .actions import ItemActions
from .model import ItemCreate, ItemFilter, ItemRow, ItemUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "ItemActions",
    "ItemCreate",
    "ItemFilter",
    "ItemRow",
    "ItemUpdate",
    "to_json",
]
