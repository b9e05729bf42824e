"""The development server: reloads on changes, shows errors in the browser. Not in artifacts."""

from __future__ import annotations

from .loop import Development

__all__ = ["Development"]
