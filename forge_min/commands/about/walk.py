"""Every command as a person types it, with its options; what `entry` reads is of its tree."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple


class Command(NamedTuple):
    """words: "migrate diff"; "" is forge-min itself. below: the commands behind it. options, and
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


def commands(top: argparse.ArgumentParser) -> Iterator[Command]:
    """All of the tree, each before those behind it."""
    from ...entry import parser as operating

    own = {found.words: found for found in _walk(operating(top.prog), "", "")}
    for found in _walk(top, "", ""):
        name, _, direction = found.words.partition(" ")
        if not found.parser.get_default("takes_rest") or not name:
            yield found
        elif direction:  # "migrate up": `entry` takes the second word for an argument
            about = own[name]
            its = tuple(told for told in about.examples if f" {found.words}" in told)
            yield about._replace(words=found.words, help=found.help, arguments=(), examples=its)
        else:
            yield own[name]._replace(help=found.help)


def _walk(parser: argparse.ArgumentParser, words: str, help: str) -> Iterator[Command]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    others = [a for a in parser._actions if a not in groups]
    options = tuple(a for a in others if a.option_strings)
    arguments = tuple(a for a in others if not a.option_strings)
    names = tuple(name for group in groups for name in group.choices)
    examples = ((parser.epilog or "") % {"prog": parser.prog}).splitlines()
    yield Command(words, help, parser, names, options, arguments, tuple(examples))
    for group in groups:
        told = {action.dest: action.help or "" for action in group._choices_actions}
        for name, below in group.choices.items():
            yield from _walk(below, f"{words} {name}".strip(), told[name])
