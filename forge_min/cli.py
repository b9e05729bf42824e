"""The command line: the argparse tree. Errors leave through the one door, `ops.door`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import __version__
from .commands import GROUPS
from .commands.tree import add_options, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit code: 0 done, 1 failed, 2 wrong use (argparse exits by itself)."""
    parser = new_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not args.takes_rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if args.no_color:
        os.environ["NO_COLOR"] = "1"
    args.rest, args.parser = rest, parser
    return run_command(args)


def new_parser() -> argparse.ArgumentParser:
    """The tree of commands. Loads none of the rooms that the commands need."""
    parser = argparse.ArgumentParser(
        prog="forge-min",
        description="Resource schemas in, a running application out.",
        epilog="example: forge-min init shop; forge-min help COMMAND shows an example of each",
        allow_abbrev=False,
    )
    add_options(parser, top=True)
    parser.add_argument("--version", action="version", version=f"forge-min {__version__}")
    parser.set_defaults(takes_rest=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
