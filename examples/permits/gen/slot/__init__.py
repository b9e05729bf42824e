"""Slot, generated from resources/slot/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import SlotActions
from .model import SlotCreate, SlotFilter, SlotRow, SlotUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "SlotActions",
    "SlotCreate",
    "SlotFilter",
    "SlotRow",
    "SlotUpdate",
    "to_json",
]
