"""The actions of Country, generated from resources/country/schema.py. Do not edit: write your rules into resources/country/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import CountryCreate, CountryFilter, CountryRow, CountryUpdate
from .resource import RESOURCE


class CountryActions(Actions[CountryRow, CountryCreate, CountryUpdate]):
    """Every action of countries; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: CountryFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
