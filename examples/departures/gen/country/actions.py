"""The actions of Country, generated from resources/country/schema.py. Do not edit: rules of yours go into resources/country/actions.py."""

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
        """What to list, with filters whose names and values are checked by type."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
