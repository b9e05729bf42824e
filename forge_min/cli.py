"""The command line: the argparse tree. `ops.console` reports errors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import __version__, entry
from .commands import RUNS, TABLE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. An error of the command is reported, not raised.

    argv: the arguments after the program's name, default those of this process.

    Returns the exit code: 0 success, 1 failure, 2 wrong use.
    """
    return entry.run_command(new_parser(), argv)


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. Loads no package that a command needs."""
    parser = argparse.ArgumentParser(
        prog="forge-min",
        description="Resource schemas in, a running application out.",
        epilog="example: forge-min init shop; forge-min help COMMAND shows an example of each",
        allow_abbrev=False,
    )
    everywhere = TABLE["everywhere"]
    entry.declare(parser.add_argument_group("everywhere"), everywhere)
    parser.add_argument("--version", action="version", version=f"forge-min {__version__}")
    # A command that an artifact has too has its row in the artifact's table (entry.toml).
    operating = entry.operating()
    rows = {words: row or operating[words] for words, row in TABLE["command"].items()}
    entry.add_commands(parser, rows, RUNS, everywhere)
    parser.set_defaults(parser=parser, checks={}, command=parser.prog)
    return parser
