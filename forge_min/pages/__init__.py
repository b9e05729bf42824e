"""Compiles HTML pages with string.Template placeholders to Python functions.

A placeholder is refused if a value could be unsafe in its HTML context.
"""

from .compile import compile_library_pages, compile_page, compile_pages, library_page

__all__ = ["compile_library_pages", "compile_page", "compile_pages", "library_page"]
