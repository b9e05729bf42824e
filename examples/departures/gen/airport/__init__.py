"""Airport, generated from resources/airport/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import AirportActions
from .model import AirportCreate, AirportFilter, AirportRow, AirportUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "AirportActions",
    "AirportCreate",
    "AirportFilter",
    "AirportRow",
    "AirportUpdate",
    "to_json",
]
