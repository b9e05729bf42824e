"""The commands, one module per subject. A module is loaded when one of its commands runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from .. import entry
from ..errors import UsageError
from ..resources import table
from .project import find_root, read_resources, use_code

TABLE: Mapping[str, Any] = table(__name__, "commands.toml")
_COMMANDS = {
    "about": ("completion", "help"),
    "database": ("db console", "db reset", "db seed"),
    "dev": ("dev",),
    "generate": ("generate", "generate resource"),
    "init": ("init",),
    "migrate": ("migrate diff",),
    "routes": ("openapi", "routes"),
    "ship": ("build", "deploy", "vendor", "verify"),
}
"""The commands of each module. The last word of a command is the name of its function."""


def _run_own(module: str, args: argparse.Namespace) -> int:
    """Run a command of this package. Its function may return an exit code."""
    function = getattr(import_module(f".{module}", __name__), args.words.rpartition(" ")[2])
    return int(function(args) or 0)


def _operate(run: entry.Run, args: argparse.Namespace) -> int:
    """Run an operating command, which an artifact has too, in a project's folder.

    Raises UsageError F011 without a project, except for `version`. For `manual`, prints the
    mistakes in the schemas and raises an empty ErrorGroup.
    """
    try:
        root = find_root(args)
        use_code(root)
    except UsageError:
        if args.words != "version":
            raise
    else:
        if args.words == "manual":
            read_resources(root, as_json=args.json)
        if args.words == "doctor":
            from .stale_checks import CHECKS

            args.checks = {code: partial(check, root) for code, check in CHECKS.items()}
    return run(args)


RUNS: Mapping[str, entry.Run] = {
    **{words: partial(_run_own, module) for module in _COMMANDS for words in _COMMANDS[module]},
    **{words: partial(_operate, run) for words, run in entry.RUNS.items()},
}
"""Command → its function: parsed arguments → exit code."""

__all__ = ["RUNS", "TABLE"]
