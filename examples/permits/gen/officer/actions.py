"""The actions of Officer, generated from resources/officer/schema.py. Do not edit: write your rules into resources/officer/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import OfficerCreate, OfficerFilter, OfficerRow, OfficerUpdate
from .resource import RESOURCE


class OfficerActions(Actions[OfficerRow, OfficerCreate, OfficerUpdate]):
    """Every action of officers; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: OfficerFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
