"""Rows in and out of files: import and export."""

from .export import export_rows
from .importer import FileImport, import_file, open_actions
from .references import AnyActions

__all__ = ["AnyActions", "FileImport", "export_rows", "import_file", "open_actions"]
