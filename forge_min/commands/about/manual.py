"""The manual page forge-min(1), in the language of man(7), made of the tree of commands."""

from __future__ import annotations

import argparse

from ... import __version__
from .walk import Command, commands

_END = """\
.SH EXIT STATUS
0 done, 1 failed with an error and a hint on standard error, 2 wrong use.
.SH ENVIRONMENT
Each key of forge.toml, section.key, is FORGE_SECTION_KEY: see \\fBforge\\-min config\\fR.
.SH FILES
forge.toml, in the project's folder: the nearest one upwards.
"""


def manual(top: argparse.ArgumentParser) -> str:
    """The page's source."""
    first, *rest = commands(top)
    everywhere = {name for option in first.options for name in option.option_strings}
    head = f'.TH FORGE-MIN 1 "" "forge-min {__version__}"\n.SH NAME\nforge\\-min \\- '
    head += f"{_escaped(top.description or '')}\n.SH SYNOPSIS\n.B forge\\-min\n"
    head += "[options] command ...\n.SH OPTIONS\n" + _options(first, set()) + ".SH COMMANDS\n"
    return head + "".join(_section(command, everywhere) for command in rest) + _END


def _section(command: Command, everywhere: set[str]) -> str:
    said = map(_escaped, [f"{command.help[0].upper()}{command.help[1:]}.", *command.examples])
    title = f".SS {_escaped(command.words)}\n"
    return title + "\n.PP\n".join(said) + "\n" + _options(command, everywhere)


def _options(command: Command, known: set[str]) -> str:
    """Its arguments and options, but for those that are told already."""
    lines = []
    for action in (*command.arguments, *command.options):
        if known & set(action.option_strings):
            continue
        value = str(action.metavar or action.dest.upper()) if action.nargs != 0 else ""
        names = f"{', '.join(action.option_strings)} {value}".strip()
        help = (action.help or "") % {"prog": "forge-min", "default": action.default}
        choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
        said = "; ".join(filter(None, (help, choices))) or action.dest
        lines.append(f".TP\n.B {_escaped(names)}\n{_escaped(said)}\n")
    return "".join(lines)


def _escaped(text: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return "\\&" + text if text.startswith((".", "'")) else text
