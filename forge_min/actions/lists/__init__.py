"""The parts of lists: related rows, and the indexes that lists need."""

from .list_shape import INDEXES, ListShape, explain_list, shape_of
from .related import MANY, MOST_RELATED, related_statement, with_related_filters

__all__ = [
    "INDEXES", "MANY", "MOST_RELATED", "ListShape", "explain_list", "related_statement", "shape_of",
    "with_related_filters",
]  # fmt: skip
