"""The parts of lists: cursors, related rows, indexes, and the filter `contains`."""

from .contains import check_contains
from .cursors import LAST, Cursors, read_cursor, write_cursor
from .list_shape import INDEXES, ListShape, explain_page, explain_rows, shape_of
from .related import MANY, MOST_RELATED, related_statement, with_related_filters

__all__ = [
    "INDEXES", "LAST", "MANY", "MOST_RELATED", "Cursors", "ListShape", "check_contains",
    "explain_page", "explain_rows", "read_cursor", "related_statement", "shape_of",
    "with_related_filters", "write_cursor",
]  # fmt: skip
