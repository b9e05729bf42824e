"""Vendor: all that a project needs where there is no network, pinned by hash."""

from .folder import Vendored, vendor
from .lock import NAME as LOCK
from .own import copy_source
from .sbom import NAME as SBOM
from .sbom import sbom_of_artifact
from .scripts import check_scripts
from .wheelhouse import FOLDER, WHEELS, Wheelhouse, collect, package_files, read_wheelhouse

__all__ = [
    "FOLDER", "LOCK", "SBOM", "WHEELS", "Vendored", "Wheelhouse", "check_scripts", "collect",
    "copy_source", "package_files", "read_wheelhouse", "sbom_of_artifact", "vendor",
]  # fmt: skip
