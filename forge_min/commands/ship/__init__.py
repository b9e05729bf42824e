"""Commands of the room ship that have files of their own."""

from . import verify

__all__ = ["verify"]
