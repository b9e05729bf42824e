"""The command `generate`: what is stale, what was edited, and every answer as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forge_min.cli import main

SCHEMA = """\
from forge_min import schema

thing = schema.define(
    "Thing",
    schema.string("name"),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="Greet")])),
)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "forge.toml").write_text('[project]\nname = "shop"\n')
    write(tmp_path, "thing", SCHEMA)
    return tmp_path


def write(root: Path, folder: str, text: str, name: str = "schema.py") -> None:
    (root / "resources" / folder).mkdir(parents=True, exist_ok=True)
    (root / "resources" / folder / name).write_text(text)


def generate(root: Path, *arguments: str) -> int:
    return main(["generate", *arguments, "--project", str(root)])


def answer(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = generate(root, *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def test_check_lists_what_is_stale_and_writes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(root) == 0
    assert generate(root, "--check") == 0
    (root / "gen" / "thing" / "sql.py").write_text("edited\n")
    (root / "gen" / "left.py").write_text("\n")
    capsys.readouterr()
    assert generate(root, "--check") == 1
    shown = capsys.readouterr()
    assert "stale: gen/thing/sql.py" in shown.out and "left over: gen/left.py" in shown.out
    assert "error[F305]" in shown.err
    code, found = answer(root, capsys, "--check")
    assert code == 1 and (found["written"], found["removed"]) == (["thing/sql.py"], ["left.py"])
    assert (root / "gen" / "left.py").exists()


def test_every_mistake_of_the_schemas_is_there_as_json(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "thing", SCHEMA.replace('"name"', '"name", max_length=3').replace("Greet", "greet"))
    code, found = answer(root, capsys)
    assert code == 1 and len(found["diagnostics"]) == 2
    first = found["diagnostics"][0]
    assert first["file"] == "resources/thing/schema.py" and first["line"] == 5 and first["code"]
    assert not (root / "gen").exists()


def test_every_command_that_reads_schemas_gives_their_mistakes_as_json(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "thing", SCHEMA.replace("Greet", "greet"))
    assert main(["build", "--json", "--project", str(root)]) == 1
    (found,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert found["code"] == "F112"


def states(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    code, found = answer(root, capsys, "resource", "Thing", "--diff")
    assert code == 0 and bool(found["diff"]) == (set(found["files"].values()) != {"as scaffolded"})
    return {path.removeprefix("resources/thing/"): what for path, what in found["files"].items()}


def test_edited_is_told_from_stale_by_the_recorded_hash(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert states(root, capsys) == {"actions.py": "missing", "jobs.py": "missing"}
    assert generate(root, "resource", "Thing") == 0
    assert states(root, capsys) == {"actions.py": "as scaffolded", "jobs.py": "as scaffolded"}
    jobs = root / "resources" / "thing" / "jobs.py"
    first = jobs.read_text()
    jobs.write_text(first.replace("log.info", "log.warning"))
    assert states(root, capsys)["jobs.py"] == "edited"
    jobs.write_text(first + "\nMORE = 1\n")
    assert states(root, capsys)["jobs.py"] == "edited"
    jobs.write_text(first)
    write(root, "thing", SCHEMA.replace("after_create", "after_update"))
    assert states(root, capsys)["jobs.py"] == "stale"
    jobs.write_text(first.replace("log.info", "log.warning"))
    assert states(root, capsys)["jobs.py"] == "edited and stale"
    jobs.write_text("mine\n")
    assert states(root, capsys)["jobs.py"] == "edited"


def test_the_diff_leads_from_the_present_file_to_a_fresh_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(root)
    jobs = root / "resources" / "thing" / "jobs.py"
    jobs.write_text(jobs.read_text().replace("log.info", "log.warning"))
    before = jobs.read_bytes()
    capsys.readouterr()
    assert generate(root, "resource", "Thing", "--diff") == 0
    shown = capsys.readouterr().out
    assert "resources/thing/jobs.py: edited" in shown
    changed = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in "+++---"]
    assert [line[0] for line in changed] == ["-", "+"]
    assert "log.warning" in changed[0] and "log.info" in changed[1]
    assert jobs.read_bytes() == before


def test_only_force_overwrites_and_only_that_resource(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "other", SCHEMA.replace('"Thing"', '"Other"'))
    generate(root)
    for folder in ("thing", "other"):
        write(root, folder, "mine\n", "actions.py")
    assert generate(root, "resource", "Thing") == 0 and generate(root) == 0
    assert (root / "resources/thing/actions.py").read_text() == "mine\n"
    code, found = answer(root, capsys, "resource", "thing", "--force")
    assert code == 0 and found["written"] == ["resources/thing/actions.py"]
    assert "ThingActions" in (root / "resources/thing/actions.py").read_text()
    assert (root / "resources/other/actions.py").read_text() == "mine\n"
    assert answer(root, capsys, "resource", "Thing", "--force")[1]["written"] == []


def test_a_kind_of_two_resources_has_its_class_in_one_file(root: Path) -> None:
    write(root, "other", SCHEMA.replace('"Thing"', '"Other"'))
    generate(root)
    other, thing = (root / "resources" / name / "jobs.py" for name in ("other", "thing"))
    assert "class Greet" in other.read_text() and "class Greet" not in thing.read_text()
    assert "from resources.other.jobs import Greet" in thing.read_text()
    # One that comes later takes it from where it is, whatever the order of their names.
    write(root, "another", SCHEMA.replace('"Thing"', '"Another"'))
    generate(root)
    assert (
        "from resources.other.jobs import Greet"
        in (root / "resources" / "another" / "jobs.py").read_text()
    )


def test_a_scaffolded_file_that_is_no_text_is_an_error_that_names_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(root)
    (root / "resources" / "thing" / "jobs.py").write_bytes(b"\xff")
    assert generate(root, "resource", "Thing", "--diff") == 1
    shown = capsys.readouterr().err
    assert "error[F307]" in shown and "jobs.py" in shown


def test_diff_and_force_exclude_each_other(root: Path) -> None:
    assert generate(root, "resource", "Thing", "--diff", "--force") == 2
