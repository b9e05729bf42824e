"""Commands of the room ship that have files of their own."""

from . import deploy, vendor, verify

__all__ = ["deploy", "vendor", "verify"]
