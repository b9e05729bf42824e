"""Vendor: all that a project needs where there is no network, pinned by hash."""

from .folder import Vendored, vendor
from .own import NAME as OWN
from .own import copy_source, wheel_for
from .sbom import NAME as SBOM
from .sbom import sbom_of_artifact
from .scripts import check_scripts
from .wheel import Wheel, is_musl
from .wheelhouse import (
    FOLDER,
    LOCK,
    WHEELS,
    Wheelhouse,
    collect,
    package_files,
    read_wheelhouse,
)

__all__ = [
    "FOLDER", "LOCK", "OWN", "SBOM", "Vendored", "WHEELS", "Wheel", "Wheelhouse", "check_scripts",
    "collect", "copy_source", "is_musl", "package_files", "read_wheelhouse", "sbom_of_artifact",
    "vendor", "wheel_for",
]  # fmt: skip
