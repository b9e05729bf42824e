"""The actions of Product, generated from resources/product/schema.py. Do not edit: write your rules into resources/product/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import ProductCreate, ProductFilter, ProductRow, ProductUpdate
from .resource import RESOURCE


class ProductActions(Actions[ProductRow, ProductCreate, ProductUpdate]):
    """Every action of products; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: ProductFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
