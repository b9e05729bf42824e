"""The commands, one file per group. Each loads the room it needs when it runs, not before."""

from __future__ import annotations

from . import tree

GROUPS = (tree,)
"""Modules with `add(commands)`, in the order of `--help`."""

__all__ = ["GROUPS"]
