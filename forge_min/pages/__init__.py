"""Pages of string.Template text, compiled to Python functions; placeholders only where safe."""

from __future__ import annotations

from .compile import compile_library_pages, compile_page, compile_pages, library_page

__all__ = ["compile_library_pages", "compile_page", "compile_pages", "library_page"]
