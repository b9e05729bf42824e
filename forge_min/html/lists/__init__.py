"""The list page of a resource: its filters, its rows, and operations on selected rows."""

from .list_page import ListPage, csv_response, export
from .selection import Selection

__all__ = ["ListPage", "Selection", "csv_response", "export"]
