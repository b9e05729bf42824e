"""Officer, generated from resources/officer/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import OfficerActions
from .model import OfficerCreate, OfficerFilter, OfficerRow, OfficerUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "OfficerActions",
    "OfficerCreate",
    "OfficerFilter",
    "OfficerRow",
    "OfficerUpdate",
    "to_json",
]
