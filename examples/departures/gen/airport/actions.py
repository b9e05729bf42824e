"""The actions of Airport, generated from resources/airport/schema.py. Do not edit: rules of yours go into resources/airport/actions.py."""

from forge_min.actions import Actions

from .model import AirportRow
from .resource import RESOURCE


class AirportActions(Actions[AirportRow]):
    """list, get, create, update, delete and create_many of airports."""

    resource = RESOURCE
