"""Country, generated from resources/country/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import CountryActions
from .model import CountryCreate, CountryFilter, CountryRow, CountryUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "CountryActions",
    "CountryCreate",
    "CountryFilter",
    "CountryRow",
    "CountryUpdate",
    "to_json",
]
