"""Development: a project served while it is being written. Nothing of it is in an artifact."""

from __future__ import annotations

from .loop import Development

__all__ = ["Development"]
