"""The actions of Slot, generated from resources/slot/schema.py. Do not edit: write your rules into resources/slot/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import SlotCreate, SlotFilter, SlotRow, SlotUpdate
from .resource import RESOURCE


class SlotActions(Actions[SlotRow, SlotCreate, SlotUpdate]):
    """Every action of slots; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: SlotFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
