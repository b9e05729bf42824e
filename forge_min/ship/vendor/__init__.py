"""Vendor: all that a project needs where there is no network, pinned by hash."""

from .folder import Vendored, vendor
from .own import copy_source
from .platforms import PLATFORMS
from .scripts import check_scripts
from .wheelhouse import collect

__all__ = ["PLATFORMS", "Vendored", "check_scripts", "collect", "copy_source", "vendor"]
