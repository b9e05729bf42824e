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


def _run_own(args: argparse.Namespace) -> int:
    """Run the function of a command, which may return an exit code."""
    module = import_module(f".{TABLE['command'][args.words]['module']}", __name__)
    function = getattr(module, args.words.rpartition(" ")[2])
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
    **{words: _run_own for words, row in TABLE["command"].items() if "module" in row},
    **{words: partial(_operate, run) for words, run in entry.RUNS.items()},
}
"""Command → its function: parsed arguments → exit code."""

__all__ = ["RUNS", "TABLE"]
