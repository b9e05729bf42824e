"""The actions of Note, generated from resources/note/schema.py. Do not edit: write your rules into resources/note/actions.py."""

from forge_min.actions import Actions, ListQuery

from .model import NoteCreate, NoteFilter, NoteRow, NoteUpdate
from .resource import RESOURCE


class NoteActions(Actions[NoteRow, NoteCreate, NoteUpdate]):
    """Every action of notes; forge_min.actions.Actions describes them."""

    resource = RESOURCE

    @classmethod
    def query(
        cls, filters: NoteFilter, *, sort: str = "", limit: int = 25, q: str = ""
    ) -> ListQuery:
        """Return the query of a list, with typed filters."""
        return ListQuery.of(RESOURCE, filters, sort=sort, limit=limit, q=q)
