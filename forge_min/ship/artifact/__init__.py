"""The artifact: its members, compiled and written reproducibly."""

from . import archive, assets, bytecode, distributions, imports, package

__all__ = ["archive", "assets", "bytecode", "distributions", "imports", "package"]
