"""The command line about itself: help, examples and the manual."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import forge_min
import pytest
from forge_min.cli import main, new_parser
from forge_min.commands import about
from forge_min.commands.about import subcommands

from .conftest import Cli


def commands(
    parser: argparse.ArgumentParser, *above: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All of the tree, by words: "migrate diff"."""
    for name, command in subcommands(parser).items():
        yield " ".join([*above, name]), command
        yield from commands(command, *above, name)


ALL = dict(commands(new_parser()))


def examples(words: str) -> list[str]:
    """The lines of a command's examples."""
    command = ALL[words]
    return ((command.epilog or "") % {"prog": command.prog}).splitlines()


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_a_help_and_examples_of_itself(words: str) -> None:
    assert ALL[words].description and examples(words)
    for example in examples(words):
        assert f"{example} ".startswith(f"example: forge-min {words} "), example
    for action in ALL[words]._actions:
        if action.option_strings:
            assert action.help or action.choices, f"{words} {action.option_strings}"


def parse(line: str) -> None:
    """As the command line does; SystemExit where it is wrong use."""
    words = shlex.split(line.partition(" > ")[0])
    assert words[0] == "forge-min"
    new_parser().parse_args(words[1:])


@pytest.mark.parametrize("words", ALL)
def test_every_example_is_what_the_command_line_takes(words: str) -> None:
    for example in examples(words):
        for line in example.removeprefix("example: ").split(" && "):
            parse(line)


def choices(words: str) -> list[str]:
    positional = [action for action in ALL[words]._actions if not action.option_strings]
    return [str(one) for action in positional for one in action.choices or ()]


@pytest.mark.parametrize(
    "words",
    [f"{name} {does}" for name in ("jobs", "auth") for does in choices(name)]
    + ["migrate up", "migrate down", "migrate status"],
)
def test_what_a_command_can_do_has_an_example_of_its_own(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        new_parser().parse_args([*words.split(), "--help"])
    assert ended.value.code == 0
    told = re.findall(r"^example: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert len(told) == 1 and f"{told[0]} ".startswith(f"forge-min {words} ")


def test_a_new_project_has_what_the_example_of_generate_resource_names(
    cli: Cli, project: Path
) -> None:
    (example,) = examples("generate resource")
    done = cli(*example.removeprefix("example: forge-min ").split(), cwd=project)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_writes_the_manual(cli: Cli, tmp_path: Path) -> None:
    done = cli("help", "--html", str(tmp_path / "manual"), "--json")
    assert json.loads(done.stdout) == {"path": str(tmp_path / "manual")}
    index = (tmp_path / "manual" / "index.html").read_text(encoding="utf-8")
    assert f"forge_min {forge_min.__version__}" in index
    assert (tmp_path / "manual" / "reference" / "errors.html").is_file()


def test_without_a_rendered_manual_help_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(about, "manual", lambda: None)
    assert main(["help", "--html", str(tmp_path / "manual")]) == 2
    assert "error[F355]" in capsys.readouterr().err
    assert not (tmp_path / "manual").exists()
