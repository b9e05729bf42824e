"""Rows in and out of files: import and export."""

from .export import export_rows
from .importer import AnyActions, Load, import_file, opened

__all__ = ["AnyActions", "Load", "export_rows", "import_file", "opened"]
