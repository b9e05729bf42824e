"""The artifact itself: what goes in from the environment, compiled, written alike."""

from .archive import (
    SUMS,
    check_file,
    check_folder,
    read_sums,
    replace,
    sums_name,
    write_folder,
    write_sums,
    write_zip,
    write_zipapp,
)
from .assets import prepare_assets
from .bytecode import compile_members
from .distributions import (
    BASE,
    DRIVERS,
    INSTALLERS_OWN,
    collect,
    find_installed,
    is_installed,
    members,
    normalise,
    record_hash,
    recorded_files,
    required_names,
)
from .imports import check_imports
from .package import (
    compiled_core,
    package_files,
    package_members,
    package_root,
    recorded_package,
)

__all__ = [
    "BASE", "DRIVERS", "INSTALLERS_OWN", "SUMS", "check_file", "check_folder", "check_imports",
    "collect", "compile_members", "compiled_core", "find_installed", "is_installed", "members",
    "normalise", "package_files", "package_members", "package_root", "prepare_assets", "read_sums",
    "record_hash", "recorded_files", "recorded_package", "replace", "required_names", "sums_name",
    "write_folder", "write_sums", "write_zip", "write_zipapp",
]  # fmt: skip
