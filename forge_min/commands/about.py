"""The command line about itself: help, and completion in bash."""

from __future__ import annotations

import argparse
import textwrap
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError

CODES = Path(__file__).parents[1] / "codes.toml"
_LOOK = """\
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{at:+$at }}$word" in
            {known}) at="${{at:+$at }}$word" ;;
        esac
    done
    case "$at $prev" in
        {values}
        *) [ "$assigned" ] || case "$at" in
            {words}
        esac ;;
    esac
"""
_BASH = """\
_forge_min() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= word offered=
    local assigned= start=  # --option=value: three words, or one where COMP_WORDBREAKS has no =
    case $cur in
        =) cur= assigned=yes ;;
        --*=*) prev=${cur%%%%=*} start=$prev= cur=${cur#*=} assigned=yes ;;
    esac
    [ "$prev" != = ] || prev=${COMP_WORDS[COMP_CWORD-2]} assigned=yes
%s    COMPREPLY=($(compgen -P "$start" -W "$offered" -- "$cur"))
}
complete -o default -F _forge_min forge-min
"""


class Command(NamedTuple):
    """A command and its options.

    words: "migrate diff"; "" is forge-min itself. below: the commands behind it. options, and
    arguments without dashes, are argparse's own, in the order of its help. examples: each begins
    with "example: ".
    """

    words: str
    help: str
    parser: argparse.ArgumentParser
    below: tuple[str, ...]
    options: tuple[argparse.Action, ...]
    arguments: tuple[argparse.Action, ...]
    examples: tuple[str, ...]


def commands(parser: argparse.ArgumentParser, words: str = "", help: str = "") -> Iterator[Command]:
    """All of the tree, each before those behind it."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    options = tuple(a for a in parser._actions if a.option_strings)
    arguments = tuple(a for a in parser._actions if not a.option_strings and a not in groups)
    names = tuple(name for group in groups for name in group.choices)
    examples = ((parser.epilog or "") % {"prog": parser.prog}).splitlines()
    yield Command(words, help, parser, names, options, arguments, tuple(examples))
    for group in groups:
        told = {action.dest: action.help or "" for action in group._choices_actions}
        for name, below in group.choices.items():
            yield from commands(below, f"{words} {name}".strip(), told[name])


def help(args: argparse.Namespace) -> int:
    """Of a command what its --help says; of a code its row. Raises UsageError for anything else."""
    from ..ops import tell

    found = {command.words: command for command in commands(args.parser)}
    topic, names = args.topic, found[""].below
    if topic is None or topic in names:
        found[topic or ""].parser.print_help()
        return 0
    codes = tomllib.loads(CODES.read_text("utf-8"))
    code = topic.upper()
    if code not in codes:
        close = get_close_matches(topic, [*names, *codes], 1)
        raise UsageError(
            f"there is no command and no error code {topic!r}",
            hint=f"did you mean {close[0]}?" if close else "forge-min --help lists the commands",
        )
    lines = [f"{code}: {codes[code]['title']}", "", textwrap.fill(codes[code]["text"], 80)]
    lines += ["", f"next: {codes[code]['next']}"] if "next" in codes[code] else []
    tell({"code": code, **codes[code]}, lines, as_json=args.json)
    return 0


def completion(args: argparse.Namespace) -> int:
    """Print the script for bash."""
    found = list(commands(args.parser))
    topics = _topics(found)
    print(
        _BASH
        % _LOOK.format(
            known=" | ".join(f'"{command.words}"' for command in found if command.words),
            values="\n        ".join(_values(found)),
            words="\n            ".join(
                f'"{command.words}") offered="{" ".join(_offered(command, topics))}" ;;'
                for command in found
            ),
        ),
        end="",
    )
    return 0


def _values(found: list[Command]) -> Iterator[str]:
    """What an option's value may be: nothing where only the shell knows it, as names of files."""
    for command in found:
        for option in command.options:
            if option.nargs != 0:
                names = " | ".join(f'"{command.words} {name}"' for name in option.option_strings)
                yield f'{names}) offered="{" ".join(option.choices or ())}" ;;'


def _topics(found: list[Command]) -> list[str]:
    """The arguments of `help`: commands and error codes."""
    return [*found[0].below, *tomllib.loads(CODES.read_text("utf-8"))]


def _offered(command: Command, topics: list[str]) -> list[str]:
    long = [name for option in command.options for name in option.option_strings if name[1] == "-"]
    given = [str(one) for argument in command.arguments for one in argument.choices or ()]
    return [*command.below, *given, *(topics if command.words == "help" else ()), *long]
