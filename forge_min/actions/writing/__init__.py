"""Writing: the one statement of a write and what it carries. Nothing here reads a request."""

from .writer import ANY_VERSION, Upserted, Writer

__all__ = ["ANY_VERSION", "Upserted", "Writer"]
