"""Vendor: all that a project needs where there is no network, pinned by hash."""

from .folder import VendorResult, vendor
from .wheel import copy_source

__all__ = ["VendorResult", "copy_source", "vendor"]
