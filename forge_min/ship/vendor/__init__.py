"""Everything that a project needs on a machine without network, pinned by hash."""

from .folder import VendorResult, vendor
from .wheel import copy_source

__all__ = ["VendorResult", "copy_source", "vendor"]
