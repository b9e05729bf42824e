"""The command line: the argparse tree. Errors leave through the one door, `ops.console`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__, entry
from .commands import RUNS, TABLE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    argv: the words behind the program's name, by default those of this process.

    Returns 0 when it is done, 1 when it failed, 2 for wrong use. Never raises for an error of
    the command.
    """
    return entry.run_command(new_parser(), argv)


def new_parser() -> argparse.ArgumentParser:
    """The tree of commands. Loads none of the rooms that the commands need."""
    parser = argparse.ArgumentParser(
        prog="forge-min",
        description="Resource schemas in, a running application out.",
        epilog="example: forge-min init shop; forge-min help COMMAND shows an example of each",
        allow_abbrev=False,
    )
    everywhere = TABLE["everywhere"]
    entry.declare(parser.add_argument_group("everywhere"), everywhere)
    parser.add_argument("--version", action="version", version=f"forge-min {__version__}")
    # A command that an artifact has, too, has its row in the artifact's table.
    operating = entry.operating()
    rows = {words: row or operating[words] for words, row in TABLE["command"].items()}
    entry.add_commands(parser, rows, RUNS, everywhere)
    parser.set_defaults(parser=parser, checks={}, command=parser.prog)
    return parser


if __name__ == "__main__":
    sys.exit(main())
