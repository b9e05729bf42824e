"""The commands, one module per subject, which is loaded when one of its commands runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from .. import entry
from ..errors import UsageError
from ..resources import table
from .project import find_root, use_code

TABLE: Mapping[str, Any] = table(__name__, "commands.toml")
_OWN = {
    "init": "init.init",
    "generate": "generate.generate",
    "generate resource": "generate.resource",
    "migrate diff": "migrate.diff",
    "db console": "database.console",
    "db reset": "database.reset",
    "db seed": "database.seed",
    "dev": "dev.dev",
    "build": "ship.build",
    "deploy": "ship.deploy",
    "vendor": "ship.vendor",
    "verify": "ship.verify",
    "routes": "routes.routes",
    "openapi": "routes.openapi",
    "completion": "about.completion",
    "help": "about.help",
}


def _run_own(place: str, args: argparse.Namespace) -> int:
    """A command of this package; place: its module and function, which may return an exit code."""
    module, _, function = place.partition(".")
    return int(getattr(import_module(f".{module}", __name__), function)(args) or 0)


def _operate(run: entry.Run, args: argparse.Namespace) -> int:
    """An operating command, which an artifact does by itself, from a project's folder.

    Raises UsageError F011 where there is none; version needs none.
    """
    try:
        root = find_root(args)
        use_code(root)
    except UsageError:
        if args.words != "version":
            raise
    else:
        if args.words == "doctor":
            from .stale_checks import CHECKS

            args.checks = {code: partial(check, root) for code, check in CHECKS.items()}
    return run(args)


RUNS: Mapping[str, entry.Run] = {
    **{words: partial(_run_own, place) for words, place in _OWN.items()},
    **{words: partial(_operate, run) for words, run in entry.RUNS.items()},
}
"""A command → its function, which takes the arguments and returns the exit code."""

__all__ = ["RUNS", "TABLE"]
