"""The actions of Applicant, generated from resources/applicant/schema.py. Do not edit: write your rules into resources/applicant/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import ApplicantCreate, ApplicantFilter, ApplicantRow, ApplicantUpdate
from .resource import RESOURCE


class ApplicantActions(Actions[ApplicantRow, ApplicantCreate, ApplicantUpdate]):
    """Every action of applicants; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: ApplicantFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
