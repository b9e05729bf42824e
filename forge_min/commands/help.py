"""help: a command's help, or what an error code means (codes.toml)."""

from __future__ import annotations

import argparse
import json
import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..errors import UsageError
from .tree import add_command

if TYPE_CHECKING:
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands, "help", _help, help="explain a command or an error code", example="help F203"
    )
    parser.add_argument("topic", metavar="CODE|COMMAND", nargs="?")
    parser.set_defaults(commands=commands)


def _help(args: argparse.Namespace) -> int:
    parser: argparse.ArgumentParser = args.parser
    known = list(args.commands.choices)
    if args.topic is None:
        parser.print_help()
        return 0
    if args.topic in known:
        delegate, rest = parser.parse_known_args([args.topic, "--help"])  # others exit here
        delegate.rest = rest
        return int(delegate.run(delegate))
    return _explain(args.topic, known, args.json)


def _explain(topic: str, commands: list[str], as_json: bool) -> int:
    codes = read_codes()
    row = codes.get(topic.upper())
    if row is None:
        close = get_close_matches(topic, [*commands, *codes], 1)
        raise UsageError(
            f"there is no command and no error code {topic!r}",
            hint=f"did you mean {close[0]}?" if close else "forge-min --help lists the commands",
        )
    if as_json:
        print(json.dumps({"code": topic.upper(), **row}))
    else:
        print(f"{topic.upper()}: {row['title']}\n\n{textwrap.fill(row['text'], 80)}")
    return 0


def read_codes() -> dict[str, dict[str, str]]:
    """Every error code with its title and text."""
    import tomllib
    from importlib.resources import files

    package = __package__.rpartition(".")[0]
    return tomllib.loads(files(package).joinpath("codes.toml").read_text("utf-8"))
