"""The artifact itself: what goes in from the environment, compiled, written alike."""

from .archive import SUMS, read_sums, replace, sums_name, write_folder, write_sums, write_zipapp
from .assets import prepare_assets
from .bytecode import compile_members
from .distributions import BASE, DRIVERS, collect, is_installed, members
from .markers import normalise
from .package import package_members, package_root

__all__ = [
    "BASE", "DRIVERS", "SUMS", "collect", "compile_members", "is_installed", "members",
    "normalise", "package_members", "package_root", "prepare_assets", "read_sums", "replace",
    "sums_name", "write_folder", "write_sums", "write_zipapp",
]  # fmt: skip
