"""The commands, one module per subject. Each loads what it needs when it runs, not before."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import entry
from ..errors import UsageError
from . import about, database, dev, generate, init, migrate, routes, ship
from .made import CHECKS
from .project import find_root, use_code

TABLE: Mapping[str, Any] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text("utf-8")
)
_OWN: Mapping[str, entry.Run] = {
    "init": init.init,
    "generate": generate.generate,
    "generate resource": generate.resource,
    "migrate diff": migrate.diff,
    "db console": database.console,
    "db reset": database.reset,
    "db seed": database.seed,
    "dev": dev.dev,
    "build": ship.build,
    "deploy": ship.deploy,
    "vendor": ship.vendor,
    "verify": ship.verify,
    "routes": routes.routes,
    "openapi": routes.openapi,
    "completion": about.completion,
    "help": about.help,
}


def _operate(run: entry.Run, args: argparse.Namespace) -> int:
    """An operating command, which an artifact does by itself, from a project's folder.

    Raises UsageError F011 where there is none; version needs none.
    """
    try:
        root = find_root(args)
        use_code(root)
        args.checks = {code: partial(check, root) for code, check in CHECKS.items()}
    except UsageError:
        if args.words != "version":
            raise
    return run(args)


RUNS: Mapping[str, entry.Run] = {
    **_OWN,
    **{words: partial(_operate, run) for words, run in entry.RUNS.items()},
}
"""A command → its function, which takes the arguments and returns the exit code."""


def run_command(args: argparse.Namespace) -> int:
    """Run the chosen command behind the one error door; its exit code."""
    from ..ops import run

    return run(lambda: args.run(args), verbose=args.verbose)


__all__ = ["RUNS", "TABLE", "run_command"]
