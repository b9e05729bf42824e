"""The development server: reloads on changes, shows errors in the browser. Not in artifacts."""

from .loop import Development

__all__ = ["Development"]
