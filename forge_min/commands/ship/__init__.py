"""Commands of the room ship that have files of their own."""

from . import deploy, vendor

__all__ = ["deploy", "vendor"]
