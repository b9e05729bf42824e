"""The indexes that lists need: those of a table, and those that a schema lacks."""

from .list_shape import INDEXES, ListShape, explain_list, shape_of

__all__ = ["INDEXES", "ListShape", "explain_list", "shape_of"]
