"""help: the help of a command, or the meaning of an error code (codes.toml)."""

from __future__ import annotations

import argparse
import textwrap
import tomllib
from difflib import get_close_matches
from pathlib import Path

from ...errors import UsageError

CODES = Path(__file__).parents[2] / "codes.toml"


def help(args: argparse.Namespace) -> int:
    """Of a command what its --help says; of a code its row. Raises UsageError for anything else."""
    from ...ops.door import tell

    parser: argparse.ArgumentParser = args.parser
    topic, commands = args.topic, args.commands.choices
    if topic is None:
        parser.print_help()
        return 0
    if topic in commands:
        delegate, rest = parser.parse_known_args([topic, "--help"])  # others exit here
        delegate.rest = rest
        return int(delegate.run(delegate))
    codes = tomllib.loads(CODES.read_text("utf-8"))
    code = topic.upper()
    if code not in codes:
        close = get_close_matches(topic, [*commands, *codes], 1)
        raise UsageError(
            f"there is no command and no error code {topic!r}",
            hint=f"did you mean {close[0]}?" if close else "forge-min --help lists the commands",
        )
    lines = [f"{code}: {codes[code]['title']}", "", textwrap.fill(codes[code]["text"], 80)]
    lines += ["", f"next: {codes[code]['next']}"] if "next" in codes[code] else []
    tell({"code": code, **codes[code]}, lines, as_json=args.json)
    return 0
