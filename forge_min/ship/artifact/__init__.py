"""The artifact itself: what goes in from the environment, compiled, written alike."""

from .archive import replace, write_folder, write_sums, write_zipapp
from .bytecode import compile_members
from .distributions import BASE, DRIVERS, collect, is_installed, members
from .package import package_members, package_root

__all__ = [
    "BASE", "DRIVERS", "collect", "compile_members", "is_installed", "members", "package_members",
    "package_root", "replace", "write_folder", "write_sums", "write_zipapp",
]  # fmt: skip
