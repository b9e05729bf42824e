"""Writing: the one statement of a write and what it carries. Nothing here reads a request."""

from .bulk import Bulk, Upserted
from .uuid7 import uuid7

__all__ = ["Bulk", "Upserted", "uuid7"]
