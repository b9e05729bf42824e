"""The actions of Country, generated from resources/country/schema.py. Do not edit: rules of yours go into resources/country/actions.py."""

from forge_min.actions import Actions

from .model import CountryRow
from .resource import RESOURCE


class CountryActions(Actions[CountryRow]):
    """list, get, create, update, delete and create_many of countries."""

    resource = RESOURCE
