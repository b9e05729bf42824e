"""completion: the script that completes commands in bash, generated from the tree of commands."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator

from .help import CODES
from .walk import Command, commands

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
