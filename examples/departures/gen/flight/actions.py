"""The actions of Flight, generated from resources/flight/schema.py. Do not edit: rules of yours go into resources/flight/actions.py."""

from forge_min.actions import Actions

from .model import FlightRow
from .resource import RESOURCE


class FlightActions(Actions[FlightRow]):
    """list, get, create, update, delete and create_many of flights."""

    resource = RESOURCE
