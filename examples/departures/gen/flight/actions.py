"""The actions of Flight, generated from resources/flight/schema.py. Do not edit: write your rules into resources/flight/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import FlightCreate, FlightFilter, FlightRow, FlightUpdate
from .resource import RESOURCE


class FlightActions(Actions[FlightRow, FlightCreate, FlightUpdate]):
    """Every action of flights; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: FlightFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
