"""The tree of commands and the error boundary: help, usage, exit codes, and what is loaded when."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from forge_min.cli import new_parser

from .conftest import PACKAGE, Cli, environment

COMMANDS = ["init", "generate", "migrate", "db", "dev", "serve", "worker", "jobs", "auth", "import",
            "export", "config", "manual", "doctor", "version", "build", "verify", "vendor",
            "deploy", "routes", "openapi", "help"]  # fmt: skip
BELOW = ["generate resource", "migrate diff", "migrate up", "migrate down", "migrate status"]


def test_the_help_lists_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^    {command} ", done.stdout, re.M), command
    shown = re.findall(r"^    (\w+) ", done.stdout, re.M)
    assert shown == COMMANDS


@pytest.mark.parametrize("command", [*COMMANDS, *BELOW])
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^example: .*{command.split()[0]}", done.stdout, re.M)


@pytest.mark.parametrize("command", ["build", "serve"])
def test_help_command_is_the_commands_help(cli: Cli, command: str) -> None:
    assert cli("help", command).stdout == cli(command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["init"],
        ["init", "shop", "--admin", "ann@example.com"],
        ["build", "--nonsense"],
        ["build", "extra"],
        ["build", "--format", "rpm"],
        ["migrate"],
        ["migrate", "sideways"],
        ["help", "nonsense"],
        ["generate", "resource"],
        ["build", "--forma", "dir"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_2_and_no_traceback(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" and "Traceback" not in done.stderr and done.stderr


@pytest.mark.parametrize("command", ["build", "generate", "routes", "config", "serve", "deploy"])
def test_outside_of_a_project_is_exit_2_with_the_next_step(cli: Cli, command: str) -> None:
    done = cli(command)
    assert done.returncode == 2
    assert done.stderr.startswith("error[F011]: ") and "\nhint: " in done.stderr


def test_the_project_is_found_upwards_and_named_by_an_option(
    cli: Cli, project: Path, tmp_path: Path
) -> None:
    inside = project / "resources" / "item"
    shown = cli("routes", cwd=inside).stdout
    assert "/api/v1/items" in shown
    for arguments in (["--project", str(project), "routes"], ["routes", "--project", "shop"]):
        assert cli(*arguments, cwd=tmp_path).stdout == shown
    assert cli("routes", "--project", str(inside)).returncode == 2


def test_codes_are_explained_in_text_and_json(cli: Cli) -> None:
    done = cli("help", "f203")
    assert done.returncode == 0 and done.stdout.startswith("F203: ")
    row = json.loads(cli("help", "F203", "--json").stdout)
    assert row.keys() == {"code", "title", "text", "manual"}
    assert f"manual: {row['manual']}" in done.stdout
    page, _, section = row["manual"].removeprefix("file://").partition("#")
    assert f'id="{section}"' in Path(page).read_text("utf-8")
    done = cli("help", "biuld")
    assert done.returncode == 2 and "did you mean build?" in done.stderr


def test_every_code_of_the_package_has_a_row_and_every_row_is_used() -> None:
    codes = tomllib.loads((PACKAGE / "codes.toml").read_text("utf-8"))
    used = set()
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".pyx", ".tmpl", ".toml") and path.name != "codes.toml":
            source = re.sub("noqa: .*", "", path.read_text("utf-8"))  # codes of ruff
            used |= set(re.findall(r"\b([FD]\d{3})\b", source))
    assert used - codes.keys() == set()
    assert codes.keys() - used == set()
    for code, row in codes.items():
        next = {"next"} if code.startswith("D") else set()
        assert row.keys() == {"title", "text"} | next, code
        assert "\n" not in row["title"] + row["text"], code


# -- the error boundary ----------------------------------------------------------------------------


def test_an_unexpected_exception_is_one_line_and_a_traceback_only_with_v(
    cli: Cli, project: Path
) -> None:
    (project / "app.py").write_text("raise RuntimeError('boom')\n")
    done = cli("routes", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("error[F001]: RuntimeError: boom\nhint: ")
    assert "Traceback" not in done.stderr
    for arguments in (["-v", "routes"], ["routes", "-v"]):
        done = cli(*arguments, cwd=project)
        assert done.returncode == 1 and "Traceback" in done.stderr and "app.py" in done.stderr


@pytest.mark.thorough
def test_an_unexpected_exception_is_told_without_secrets(cli: Cli, project: Path) -> None:
    text = "cannot connect: postgres://u:hunter2@h/x password=hunter2"
    (project / "app.py").write_text(f"raise RuntimeError({text!r})\n")
    for arguments in (["routes"], ["-v", "routes"], ["doctor"], ["doctor", "--json"]):
        done = cli(*arguments, cwd=project)
        told = done.stdout + done.stderr
        assert done.returncode == 1 and "hunter2" not in told
        assert "RuntimeError: cannot connect: postgres://u:***@h/x password=***" in told


def test_an_interrupt_is_exit_130_without_a_traceback(cli: Cli, project: Path) -> None:
    (project / "app.py").write_text("raise KeyboardInterrupt\n")
    done = cli("routes", cwd=project)
    assert done.returncode == 130 and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["routes", "config", "help", "--help"])
def test_a_reader_that_went_away_ends_a_command_quietly(project: Path, command: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "forge_min", command],
        cwd=project,
        env=environment(PYTHONUNBUFFERED=""),  # else nothing is left to write at the end
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout and child.stderr
    child.stdout.close()
    with child.stderr:
        said = child.stderr.read()
    # 1: it could not print everything. Help fits into the buffer of stdout.
    assert child.wait(60) in ((0,) if "help" in command else (0, 1))
    assert said == b""


# -- what is loaded --------------------------------------------------------------------------------

LOADED = """
import sys
from forge_min.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = sorted({m.partition(".")[0] for m in sys.modules}
               & {"psycopg", "psycopg_c", "psycopg_binary", "opentelemetry"})
print(code, *heavy, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["build", "--help"], ["build", "--skip-css"], ["deploy"], ["generate"],
     ["help", "F001"], ["version"]],
    ids=" ".join,
)  # fmt: skip
def test_neither_psycopg_nor_opentelemetry_is_loaded(project: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr.splitlines()[-1:] == ["0"], done.stderr


def test_the_help_loads_no_package_that_a_command_needs() -> None:
    code = (
        "import sys, forge_min.cli as cli; cli.new_parser()\n"
        "print(*{m.split('.')[1] for m in sys.modules if m.startswith('forge_min.')})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert loaded <= {"_compat", "cli", "commands", "resources", "entry", "errors"}


def test_a_checkout_runs_from_its_own_folder(tmp_path: Path) -> None:
    unwanted = shutil.ignore_patterns("*.so", "__pycache__")
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "forge_min", ignore=unwanted))
    (copy / "__init__.py").write_text('__version__ = "0.0.1234"\n')
    outside = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    for arguments in (["--version"], ["help", "F001"], ["build", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "forge_min", *arguments],
            cwd=tmp_path,
            env=outside,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert arguments != ["--version"] or "0.0.1234" in done.stdout


def test_a_folder_that_is_gone_is_no_place_to_leave(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = 'cd gone && rmdir ../gone && exec "$0" -m forge_min --version'
    words = ["sh", "-c", command, sys.executable]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("forge-min "), done.stderr


def test_a_vendored_package_comes_first(cli: Cli, project: Path) -> None:
    (project / "_vendor").mkdir()
    (project / "_vendor" / "pet.py").write_text("NAME = '/vendored'\n")
    (project / "pet.py").write_text("NAME = '/own'\n")
    source = (project / "app.py").read_text()
    (project / "app.py").write_text(
        f"{source}\nimport pet\n\n@app.page(pet.NAME)\ndef named(request):\n    return ''\n"
    )
    shown = cli("routes", cwd=project)
    assert "/vendored" in shown.stdout, shown.stderr


def test_the_tree_can_be_made_twice_in_one_process() -> None:
    first = new_parser().parse_args(["--json", "build", "--no-color"])
    second = new_parser().parse_args(["build"])
    assert first.json and first.no_color and not second.json and not second.no_color


def test_a_terminal_without_a_character_gets_its_escape(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "é"
    place.mkdir()
    done = cli("init", "shop", cwd=place, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    done = cli("doctor", cwd=place / "shop", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert "F001" not in done.stderr and "D101" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_no_defect() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "forge_min", "version"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr and "hint: free disk space" in done.stderr
