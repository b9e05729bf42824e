"""What the command line says of itself: help, the manual page, completion in shells."""

from __future__ import annotations

from .completion import completion
from .help import help

__all__ = ["completion", "help"]
