"""The command line about itself: examples, and completion in a real bash."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forge_min
import pytest
from forge_min.cli import main, new_parser
from forge_min.commands import about
from forge_min.commands.about import completions, subcommands

from .conftest import Cli, environment


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


# what stands on the line, the word under the cursor last → some that is offered, some that is not
OFFERED = {
    "": ({"init", "dev", "migrate", "jobs"}, {"diff", "--force"}),
    "mi": ({"migrate"}, {"init"}),
    "migrate ": ({"diff", "up", "status"}, {"init"}),
    "migrate diff --al": ({"--allow-destructive"}, {"--rename"}),
    "migrate down --": ({"--steps"}, {"--rename"}),
    "--json migrate d": ({"diff", "down"}, {"deploy", "dev"}),
    "build --format ": ({"zipapp", "dir"}, {"init"}),
    "build --output ": (set(), {"zipapp", "--format", "init"}),  # a file: the shell's to offer
    "--project ": (set(), {"init", "--json"}),
    "serve --": ({"--processes", "--no-jobs"}, {"--queues"}),
    "jobs re": ({"retry", "resume"}, {"list"}),
    "help ": ({"build", "jobs", "F203", "D201"}, {"up"}),
    "help F3": ({"F345", "F380"}, {"F203", "build", "--json"}),
    "help build ": (set(), {"--format", "zipapp"}),
    "completion ": ({"bash"}, {"diff"}),
}


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


@pytest.mark.parametrize("words", ["", *ALL])
def test_completion_knows_every_command_and_every_long_option(words: str) -> None:
    parser, line = new_parser(), words.split()
    *above, name = ["", *line]
    assert name == "" or name in completions(parser, [*above[1:], ""])
    offered = completions(parser, [*line, "--"])
    for action in (ALL[words] if words else parser)._actions:
        assert not action.option_strings or action.option_strings[-1] in offered


def test_completion_is_for_bash(cli: Cli) -> None:
    assert cli("completion", "bash").returncode == 0
    assert cli("completion", "tcsh").returncode == 2 == cli("completion").returncode


IN_BASH = ["bash", "--norc", "-c"]
BASH = """
forge-min() {{ "{python}" -m forge_min "$@"; }}
source {script}
COMP_WORDS=(forge-min {words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_forge_min; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.thorough
@pytest.mark.parametrize("line", OFFERED)
def test_bash_offers_what_fits(cli: Cli, tmp_path: Path, line: str) -> None:
    script = tmp_path / "script"
    script.write_text(cli("completion", "bash").stdout)
    *before, last = line.split(" ")
    words = " ".join([*before, f"'{last}'"])
    done = subprocess.run(
        [*IN_BASH, BASH.format(python=sys.executable, script=script, words=words)],
        capture_output=True,
        text=True,
        env=environment(HOME=str(tmp_path)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    offered = set(done.stdout.split())
    there, missing = OFFERED[line]
    assert there <= offered and not missing & offered, offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deploy --base=", {"alpine", "debian"}),
        ("deploy --base=a", {"alpine"}),
        ("build -q --format=z", {"zipapp"}),
        ("build --json --format=", {"zipapp", "dir"}),
        ("build --output=", set()),  # then bash offers files
        ("build --output=b", set()),
        ("jobs list --state=", set()),
    ],
)
@pytest.mark.parametrize("breaks", [True, False], ids=["three words", "one word"])
def test_bash_offers_values_behind_an_equals_sign(
    cli: Cli, tmp_path: Path, line: str, offered: set[str], breaks: bool
) -> None:
    """By default = is of COMP_WORDBREAKS: bash gives three words, and replaces the last one."""
    script = tmp_path / "script"
    script.write_text(cli("completion", "bash").stdout)
    before, _, value = line.partition("=")
    words = f"{before} = {value}".rstrip() if breaks else line
    done = subprocess.run(
        [*IN_BASH, BASH.format(python=sys.executable, script=script, words=words)],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    start = "" if breaks else f"{before.split()[-1]}="
    assert set(done.stdout.split()) == {f"{start}{value}" for value in offered}


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
