"""The actions of Document, generated from resources/document/schema.py. Do not edit: write your rules into resources/document/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import DocumentCreate, DocumentFilter, DocumentRow, DocumentUpdate
from .resource import RESOURCE


class DocumentActions(Actions[DocumentRow, DocumentCreate, DocumentUpdate]):
    """Every action of documents; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: DocumentFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
