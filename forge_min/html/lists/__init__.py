"""The list page of a resource: its filters, its rows, and operations on selected rows."""

from .list_page import ListPage, csv_response, export
from .many_rows import PerformOnRows, show_outcome
from .selection import Selection

__all__ = ["ListPage", "PerformOnRows", "Selection", "csv_response", "export", "show_outcome"]
