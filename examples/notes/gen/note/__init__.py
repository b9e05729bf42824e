"""Note, generated from resources/note/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import NoteActions
from .model import NoteCreate, NoteFilter, NoteRow, NoteUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "NoteActions",
    "NoteCreate",
    "NoteFilter",
    "NoteRow",
    "NoteUpdate",
    "to_json",
]
