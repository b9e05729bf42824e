"""Commands of the room ship that have files of their own."""

from . import vendor

__all__ = ["vendor"]
