"""Flight, generated from resources/flight/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import FlightActions
from .model import FlightCreate, FlightFilter, FlightRow, FlightUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "FlightActions",
    "FlightCreate",
    "FlightFilter",
    "FlightRow",
    "FlightUpdate",
    "to_json",
]
