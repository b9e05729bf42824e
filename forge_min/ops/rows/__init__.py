"""Rows in and out of files: import and export."""

from .export import export_rows
from .transfer import Load, import_file, opened, tenant_id

__all__ = ["Load", "export_rows", "import_file", "opened", "tenant_id"]
