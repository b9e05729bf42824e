"""completion: what a shell offers behind forge-min, made of the tree of commands."""

from __future__ import annotations

import argparse
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping

from .help import CODES
from .walk import Command, commands

_LOOK = """\
    for word in {before}; do
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
_ZSH = """\
#compdef forge-min
_forge_min() {
    local prev=$words[CURRENT-1] at= word offered= assigned=
%s    compadd -- ${=offered} || _files
}
compdef _forge_min forge-min
"""
_FISH = """\
function __forge_min_at
    set -l at
    for word in (commandline -opc)[2..]
        if contains -- "$(string join ' ' -- $at $word)" {known}
            set -a at $word
        end
    end
    test "$(string join ' ' -- $at)" = "$argv"
end
"""


def completion(args: argparse.Namespace) -> int:
    """Print the script of a shell."""
    found = list(commands(args.parser))
    print(_SHELLS[args.shell](found), end="")
    return 0


def _look(found: list[Command], before: str) -> str:
    """What finds the command at the cursor and what it offers, for shells like sh. before: the
    words before the cursor.
    """
    topics = _topics(found)
    return _LOOK.format(
        before=before,
        known=" | ".join(f'"{command.words}"' for command in found if command.words),
        values="\n        ".join(_values(found)),
        words="\n            ".join(
            f'"{command.words}") offered="{" ".join(_offered(command, topics))}" ;;'
            for command in found
        ),
    )


def _bash(found: list[Command]) -> str:
    return _BASH % _look(found, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')


def _zsh(found: list[Command]) -> str:
    return _ZSH % _look(found, '"${(@)words[2,CURRENT-1]}"')


def _values(found: list[Command]) -> Iterator[str]:
    """What an option's value may be: nothing where only the shell knows it, as names of files."""
    for command in found:
        for option in command.options:
            if option.nargs != 0:
                names = " | ".join(f'"{command.words} {name}"' for name in option.option_strings)
                yield f'{names}) offered="{" ".join(option.choices or ())}" ;;'


def _topics(found: list[Command]) -> dict[str, str]:
    """What `help` explains, and in a few words what that is: commands and error codes."""
    codes = tomllib.loads(CODES.read_text("utf-8"))
    helps = {command.words: command.help for command in found if command.words in found[0].below}
    return helps | {code: row["title"] for code, row in codes.items()}


def _offered(command: Command, topics: Mapping[str, str]) -> list[str]:
    long = [name for option in command.options for name in option.option_strings if name[1] == "-"]
    given = [str(one) for argument in command.arguments for one in argument.choices or ()]
    return [*command.below, *given, *(topics if command.words == "help" else ()), *long]


def _fish(found: list[Command]) -> str:
    helps = {command.words: command.help for command in found}
    lines, topics = [], _topics(found)
    for command in found:
        start = (
            f"complete -c forge-min -n {_quoted(f'__forge_min_at {shlex.quote(command.words)}')}"
        )
        for name in command.below:
            help = helps[f"{command.words} {name}".strip()]
            lines.append(f"{start} -f -a {name} -d {_quoted(help)}")
        for name, help in topics.items() if command.words == "help" else ():
            lines.append(f"{start} -f -a {name} -d {_quoted(help)}")
        for argument in command.arguments:
            if argument.choices:
                lines.append(f"{start} -f -a {_quoted(' '.join(argument.choices))}")
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name[1] == "-" else f"-s {name[1:]}"
                for name in option.option_strings
            )
            chosen = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else ""
            chosen = chosen or (" -r" if option.nargs != 0 else "")
            lines.append(f"{start} {names}{chosen} -d {_quoted(option.help or '')}")
    known = " ".join(_quoted(command.words) for command in found if command.words)
    return _FISH.format(known=known) + "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """For fish, which knows two escapes between single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: Mapping[str, Callable[[list[Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
