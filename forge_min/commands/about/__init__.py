"""The command line about itself: help, and completion in bash."""

from __future__ import annotations

from .completion import completion
from .help import help

__all__ = ["completion", "help"]
