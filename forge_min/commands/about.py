"""help, and completion in bash."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from ..errors import UsageError
from ..ops import print_result
from ..resources import manual, manual_url, table

CODES = table(__package__.rpartition(".")[0], "codes.toml")
_BASH = """\
_forge_min() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _forge_min forge-min
"""


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
    topic, commands = args.topic, subcommands(args.parser)
    if topic is None or topic in commands:
        commands.get(topic, args.parser).print_help()
        return
    code = topic.upper()
    if code not in CODES:
        close = get_close_matches(topic, [*commands, *CODES], 1)
        raise UsageError(
            f"{topic!r} is not a command or an error code",
            hint=f"did you mean {close[0]}?" if close else "forge-min --help lists the commands",
        )
    row = CODES[code]
    lines = [f"{code}: {row['title']}", "", textwrap.fill(row["text"], 80)]
    url = manual_url(code)
    lines += ["", f"manual: {url}"] if url else []
    lines += ["", f"next: {row['next']}"] if "next" in row else []
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


def completion(args: argparse.Namespace) -> None:
    """Print the script for bash, or with a line the completions of its last word."""
    if args.line:
        print(*completions(args.parser, args.line), sep="\n")
    else:
        print(_BASH, end="")


def completions(parser: argparse.ArgumentParser, line: Sequence[str]) -> list[str]:
    """Return the completions of the last word.

    Names of files are left to the shell.

    line: the words after forge-min. --option=value is one word, or three if "=" is in bash's
        COMP_WORDBREAKS.
    """
    *before, last = line
    prefix, assigned = "", True
    if last == "=":
        last = ""
    elif before[-1:] == ["="]:
        before.pop()
    elif last.startswith("--") and "=" in last:
        option, _, last = last.partition("=")
        before, prefix = [*before, option], f"{option}="
    else:
        assigned = False
    command = parser
    for word in before:
        command = subcommands(command).get(word, command)
    options = {name: action for action in command._actions for name in action.option_strings}
    option_before = options.get(before[-1]) if before else None
    offered: list[str] = []
    if option_before is not None and option_before.nargs != 0:
        offered += option_before.choices or ()
    elif not assigned:
        for action in command._actions:
            offered += action.choices or () if not action.option_strings else ()
        if command.get_default("words") == "help":  # "words" is the name of the command
            offered += [*subcommands(parser), *CODES]
        offered += [name for name in options if name.startswith("--")]
    return [prefix + word for word in offered if word.startswith(last)]
