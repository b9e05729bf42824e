"""The tree of commands, as commands.toml has it: the same global options and help everywhere."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import about, build, database, dev, generate, init, migrate, operate, routes, ship

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], int]
_TABLE = tomllib.loads(Path(__file__).with_name("commands.toml").read_text("utf-8"))
# A command → its function, which gets the arguments and gives the exit code.
_RUNS: Mapping[str, Run] = {
    "init": init.init,
    "generate": generate.generate,
    "generate resource": generate.resource,
    "migrate diff": migrate.diff,
    "db console": database.console.console,
    "db reset": database.reset.reset,
    "db seed": database.seed.seed,
    "dev": dev.dev,
    "build": build.build,
    "deploy": ship.deploy.deploy,
    "vendor": ship.vendor.vendor,
    "verify": ship.verify.verify,
    "routes": routes.routes,
    "openapi": routes.openapi,
    "completion": about.completion,
    "help": about.help,
}


def add(commands: Commands) -> None:
    """Declare every command of the table."""
    groups = {"": commands}
    for words, row in _TABLE["command"].items():
        above, _, name = words.rpartition(" ")
        run, things = _RUNS.get(words), row.get("things")
        delegated = not (run or things)  # everything behind its name lands in `rest`
        parser = groups[above].add_parser(
            name,
            help=row["help"],
            description=row["help"][0].upper() + row["help"][1:] + ".",
            epilog=f"example: forge-min {row.get('example')}",
            add_help=not delegated,
            allow_abbrev=False,
        )
        add_options(parser)
        _declare(parser, row.get("options", {}))
        if "either" in row:  # argparse refuses to show an empty group
            _declare(parser.add_mutually_exclusive_group(), row["either"])
        parser.set_defaults(run=run or partial(operate.delegate, words))
        parser.set_defaults(takes_rest=delegated, commands=commands)
        if things:
            groups[words] = parser.add_subparsers(metavar=things, required=run is None)


def add_options(parser: argparse.ArgumentParser, *, top: bool = False) -> None:
    """The global options. They stand before or behind the command's name; behind wins."""
    given = {} if top else {"default": argparse.SUPPRESS}
    _declare(parser.add_argument_group("everywhere"), _TABLE["everywhere"], **given)


def _declare(group: argparse._ActionsContainer, options: Mapping[str, Any], **more: Any) -> None:
    for names, how in options.items():
        keywords = {"action": "store_true", "help": how} if isinstance(how, str) else how
        group.add_argument(*names.split(), **keywords, **more)


def run_command(args: argparse.Namespace) -> int:
    """Run the chosen command behind the one error door; its exit code."""
    from ..ops.door import run

    return run(lambda: args.run(args), verbose=args.verbose)
