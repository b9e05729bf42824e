"""Rows in and out of files: import and export."""

from .export import export_rows
from .importer import AnyActions, FileImport, import_file, open_actions

__all__ = ["AnyActions", "FileImport", "export_rows", "import_file", "open_actions"]
