"""The actions of Application, generated from resources/application/schema.py. Do not edit: write your rules into resources/application/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import (
    ApplicationCreate,
    ApplicationFilter,
    ApplicationRow,
    ApplicationUpdate,
)
from .resource import RESOURCE


class ApplicationActions(Actions[ApplicationRow, ApplicationCreate, ApplicationUpdate]):
    """Every action of applications; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: ApplicationFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
