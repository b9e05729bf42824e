"""The operating commands: what an artifact does by itself, done from a project's folder.

Their arguments are read by `entry`, so a project and its artifact take the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import UsageError
from .project import find_root, use_code
from .tree import add_delegate

if TYPE_CHECKING:
    from .tree import Commands

_COMMANDS = {
    "serve": "answer requests, and work jobs",
    "worker": "work jobs only",
    "import": "create rows from JSON lines or CSV",
    "export": "write rows as JSON lines or CSV",
    "config": "the configuration, secrets masked",
    "version": "what runs here",
}


def add(commands: Commands) -> None:
    """Declare the commands."""
    for name, help in _COMMANDS.items():
        add_delegate(commands, name, _run(name), help=help)


def _run(name: str) -> Callable[[argparse.Namespace], int]:
    return lambda args: delegate(args, name)


def delegate(args: argparse.Namespace, *words: str) -> int:
    """Run a command of `entry` for the project of `args`. Raises UsageError F011 where none is.

    Help and version need no project.
    """
    from ..entry import main

    try:
        use_code(find_root(args))
    except UsageError:
        if words != ("version",) and not {"-h", "--help"} & set(args.rest):
            raise
    options = ["--verbose"] if args.verbose else []
    json = ["--json"] if args.json else []
    return main([*options, *words, *args.rest, *json], prog="forge-min")
