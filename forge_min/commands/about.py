"""The command `help`: commands, error codes and the manual."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from ..errors import UsageError
from ..ops import print_result
from ..resources import manual, manual_url, table

CODES = table(__package__.rpartition(".")[0], "codes.toml")


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the subcommands of a command by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def help(args: argparse.Namespace) -> None:
    """Explain a command or an error code, or write the manual.

    Raises UsageError for anything else, F355 if the manual was not rendered.
    """
    if args.html:
        _write_manual(args.html, as_json=args.json)
        return
    topic = args.topic
    commands = subcommands(args.parser)
    if topic is None or topic in commands:
        commands.get(topic, args.parser).print_help()
        return
    code = topic.upper()
    if code not in CODES:
        hint = "forge-min --help lists the commands"
        close = get_close_matches(topic, [*commands, *CODES], 1)
        if close:
            hint = f"did you mean {close[0]}?"
        raise UsageError(f"{topic!r} is not a command or an error code", hint=hint)
    row = CODES[code]
    lines = [f"{code}: {row['title']}", "", textwrap.fill(row["text"], 80)]
    url = manual_url(code)
    if url:
        lines += ["", f"manual: {url}"]
    if "next" in row:
        lines += ["", f"next: {row['next']}"]
    print_result({"code": code, **row, "manual": url}, lines, as_json=args.json)


def _write_manual(folder: Path, *, as_json: bool) -> None:
    source = manual()
    if not isinstance(source, Path):
        raise UsageError(
            "this copy of forge_min has no rendered manual",
            code="F355",
            hint="run `make docs` in its checkout, or install a release",
        )
    shutil.copytree(source, folder, dirs_exist_ok=True)
    lines = [f"wrote {folder / 'index.html'}: open it in a browser"]
    print_result({"path": str(folder)}, lines, as_json=as_json)
