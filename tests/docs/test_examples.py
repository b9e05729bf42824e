"""What the documentation shows is so: its Python compiles, its schemas are right, its names are
there.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min import entry, schema
from forge_min.actions import Actions
from forge_min.cli import new_parser
from forge_min.parse import parse_project
from forge_min.parse.names import snake

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def blocks() -> Iterator[Any]:
    """Every block of Python, named by its page and line."""
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(content):
            line = content.count("\n", 0, found.start(1)) + 1
            yield pytest.param(found[1], id=f"{page.relative_to(ROOT)}:{line}")


BLOCKS = list(blocks())


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", BLOCKS)
def test_python_in_the_docs_is_python(code: str) -> None:
    ast.parse(code)


def resources(code: str) -> dict[str, str]:
    """Name → source of each schema.define; what they refer to without showing it is added."""
    lines = code.splitlines()
    found = {}
    for node in ast.parse(code).body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "schema.define":
            name = ast.literal_eval(value.args[0])
            found[name] = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    targets = set(re.findall(r'belongs_to\(\s*"(\w+)"', code)) - found.keys()
    return found | {t: f'it = schema.define("{t}", schema.string("name"))' for t in targets}


@pytest.mark.parametrize("code", [p for p in BLOCKS if "schema.define(" in str(p.values[0])])
def test_schemas_in_the_docs_have_no_mistake(code: str, tmp_path: Path) -> None:
    for name, source in resources(code).items():
        folder = tmp_path / "resources" / snake(name)
        folder.mkdir(parents=True)
        (folder / "schema.py").write_text(f"from forge_min import schema\n\n{source}\n")
    parsed = parse_project(tmp_path)
    assert not parsed.diagnostics, "\n".join(d.format() for d in parsed.diagnostics)


def test_the_diagnostic_that_is_shown_is_what_is_said(tmp_path: Path) -> None:
    page = text("reference/diagnostics.md")
    shown = textwrap.dedent(re.search(r"^    error.*?\n\n", page, re.M | re.S)[0]).strip()  # type: ignore[index]
    file = tmp_path / "resources" / "item" / "schema.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        'from forge_min import schema\n\nitem = schema.define(\n    "Item",\n'
        '    schema.string("title", requird=True),\n)\n'
    )
    (diagnostic,) = parse_project(tmp_path).diagnostics
    assert diagnostic.format() == shown


def test_every_word_of_the_schema_language_is_documented() -> None:
    page = text("reference/schema.md")
    functions = {n for n in schema.__all__ if n[0].islower() or n in ("Hooks", "JobRef")}
    missing = {n for n in functions - {"define"} if f"schema.{n}" not in page}
    options = {
        name
        for function in functions
        for name in _options(getattr(schema, function))
        if f"{name}=" not in page
    }
    assert not missing | options


def _options(function: Any) -> set[str]:
    """The keyword options of one function of the language."""
    found = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            hint = inspect.get_annotations(function, eval_str=True)[name]
            found |= set(hint.__args__[0].__annotations__)
        elif parameter.default is not parameter.empty:
            found.add(name)
    return found


def test_every_public_action_is_documented() -> None:
    page = text("reference/actions.md")
    names = {n for n, f in inspect.getmembers(Actions, inspect.isfunction) if n[0] != "_"}
    assert not {n for n in names | {"query"} if f"`{n}(" not in page}


def _commands(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, str]]:
    """(command, option) of every long option below `parser`, but the ones that all have."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _commands(child, f"{words} {name}".strip())
        for option in action.option_strings:
            if option.startswith("--"):
                yield words, option


def test_every_option_of_every_command_is_documented() -> None:
    everywhere = {"--help", "--project", "--json", "--quiet", "--verbose", "--no-color"}
    everywhere |= {"--version", "--output"}  # written -o
    page = text("reference/commands.md")
    rows = {line.split("|")[1] for line in page.splitlines() if line.startswith("| `")}
    for command, option in [*_commands(new_parser()), *_commands(entry.parser())]:
        if option not in everywhere:
            found = [row for row in rows if f"`{command.split()[0]}" in row and option in row]
            assert found, f"{command} {option}"


def test_the_first_commands_of_the_readme_work_in_a_checkout(tmp_path: Path) -> None:
    """As written, up to `dev`, which does not end; this environment is what `make install` made."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.partition("## Five minutes\n\n")[2].partition("\n\n")[0]
    install, activate, *rest = [line.strip() for line in block.splitlines()]
    assert install.split("#")[0].split() == ["make", "install"]
    assert activate == ". .venv/bin/activate" and rest.pop() == "forge-min dev"
    dry = ["make", "--dry-run", "install"]
    subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    script = "\n".join([*rest, "python -m forge_min generate --check"])
    done = subprocess.run(
        ["sh", "-eu"], input=script, cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shop" / "gen").is_dir()


@pytest.mark.db
@pytest.mark.thorough
def test_the_testing_page_works_in_the_example(tmp_path: Path) -> None:
    example = tmp_path / "departures"
    ignored = shutil.ignore_patterns("dist", "__pycache__")
    shutil.copytree(ROOT / "examples" / "departures", example, ignore=ignored)
    (example / "tests").mkdir()
    for code in BLOCK.findall(text("develop/testing.md")):
        (name,) = re.findall(r"^# (tests/\w+\.py)$", code, re.M)
        (example / name).write_text(code)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FORGE_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=example,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
