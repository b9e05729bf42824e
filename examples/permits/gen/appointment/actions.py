"""The actions of Appointment, generated from resources/appointment/schema.py. Do not edit: write your rules into resources/appointment/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import (
    AppointmentCreate,
    AppointmentFilter,
    AppointmentRow,
    AppointmentUpdate,
)
from .resource import RESOURCE


class AppointmentActions(Actions[AppointmentRow, AppointmentCreate, AppointmentUpdate]):
    """Every action of appointments; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: AppointmentFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
