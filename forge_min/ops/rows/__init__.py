"""Rows in and out of files: import and export."""

from .export import export_rows
from .transfer import import_file

__all__ = ["export_rows", "import_file"]
