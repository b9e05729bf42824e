"""The parts of lists: related rows, indexes, and the filter `contains`."""

from .contains import check_contains
from .list_shape import INDEXES, ListShape, explain_page, explain_rows, shape_of
from .related import MANY, MOST_RELATED, related_statement, with_related_filters

__all__ = [
    "INDEXES", "MANY", "MOST_RELATED", "ListShape", "check_contains", "explain_page",
    "explain_rows", "related_statement", "shape_of", "with_related_filters",
]  # fmt: skip
