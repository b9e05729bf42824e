"""The actions of Item, generated from resources/item/schema.py. Do not edit: rules of yours go into resources/item/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import ItemCreate, ItemFilter, ItemRow, ItemUpdate
from .resource import RESOURCE


class ItemActions(Actions[ItemRow, ItemCreate, ItemUpdate]):
    """Every action of items; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: ItemFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """What to list, with filters whose names and values are checked by type."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
