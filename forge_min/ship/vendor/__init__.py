"""Vendor: all that a project needs where there is no network, pinned by hash."""

from .folder import Vendored, vendor
from .wheel import copy_source

__all__ = ["Vendored", "copy_source", "vendor"]
