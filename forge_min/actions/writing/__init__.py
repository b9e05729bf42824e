"""Writing: the one statement of a write and what it carries. Nothing here reads a request."""

from .bulk import Bulk, Upserted
from .writer import ANY_VERSION

__all__ = ["ANY_VERSION", "Bulk", "Upserted"]
