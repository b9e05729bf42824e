"""The artifact itself: its members from the environment, compiled, and written alike."""

from . import archive, assets, bytecode, distributions, imports, package

__all__ = ["archive", "assets", "bytecode", "distributions", "imports", "package"]
