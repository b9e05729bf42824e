"""The actions of Airport, generated from resources/airport/schema.py. Do not edit: write your rules into resources/airport/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import AirportCreate, AirportFilter, AirportRow, AirportUpdate
from .resource import RESOURCE


class AirportActions(Actions[AirportRow, AirportCreate, AirportUpdate]):
    """Every action of airports; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: AirportFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
