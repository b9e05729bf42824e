"""Writing: the one statement of a write and what it carries. Nothing here reads a request."""
