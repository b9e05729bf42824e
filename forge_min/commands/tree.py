"""How a command is declared: the same global options, help and example everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], int]
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--project",), {"type": Path, "metavar": "DIR", "help": "the project's folder"}),
    (("--json",), {"action": "store_true", "help": "the answer as JSON"}),
    (("-q", "--quiet"), {"action": "store_true", "help": "no progress"}),
    (("-v", "--verbose"), {"action": "store_true", "help": "tracebacks of defects"}),
    (("--no-color",), {"action": "store_true", "help": "no colour, as NO_COLOR=1"}),
)


def add_options(parser: argparse.ArgumentParser, *, top: bool = False) -> None:
    """The global options. They stand before or behind the command's name; behind wins."""
    group = parser.add_argument_group("everywhere")
    for names, how in _OPTIONS:
        default = None if names[0] == "--project" else False
        group.add_argument(*names, **how, default=default if top else argparse.SUPPRESS)


def add_command(
    commands: Commands, name: str, run: Run, *, help: str, example: str
) -> argparse.ArgumentParser:
    """A command with its help and an example; `run` gets the arguments and gives the exit code."""
    parser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example: forge-min {example}",
        allow_abbrev=False,
    )
    add_options(parser)
    parser.set_defaults(run=run)
    return parser


def add_delegate(commands: Commands, name: str, run: Run, *, help: str) -> None:
    """A command whose arguments are read elsewhere: everything behind its name lands in `rest`."""
    parser = commands.add_parser(name, help=help, add_help=False, allow_abbrev=False)
    add_options(parser)
    parser.set_defaults(run=run, takes_rest=True)


def run_command(args: argparse.Namespace) -> int:
    """Run the chosen command behind the one error door; its exit code."""
    from ..ops.door import run

    command: Run = args.run
    return run(lambda: command(args), verbose=args.verbose)
