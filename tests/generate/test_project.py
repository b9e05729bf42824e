"""A project's generated files out of its schemas and pages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from forge_min.errors import ErrorGroup, UsageError
from forge_min.generate import check_new, generate, scaffold_project, scaffold_resource
from forge_min.parse import parse_project
from hypothesis import given, settings

from ..parse.helpers import parse
from ..parse.strategies import schema_files

COUNTRY = """\
from forge_min import schema

country = schema.define(
    "Country",
    schema.string("code", required=True, unique=True, max_len=2),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="Greet")])),
    plural="countries",
)
"""


def project(root: Path) -> Path:
    folder = root / "resources" / "country"
    (folder / "views").mkdir(parents=True)
    (folder / "schema.py").write_text(COUNTRY)
    (folder / "views" / "list.html").write_text("<p>${title}</p>")
    return root


def test_a_project_is_generated_and_then_up_to_date(tmp_path: Path) -> None:
    resources = parse_project(project(tmp_path)).resources
    assert generate(tmp_path, resources, check=True).stale
    report = generate(tmp_path, resources)
    assert "pages/country_list.py" in report.written
    assert any(path.startswith("country/") for path in report.written)
    assert not generate(tmp_path, resources, check=True).stale
    assert generate(tmp_path, resources).written == ()


def test_a_link_that_leads_to_nothing_is_no_place_for_a_project(tmp_path: Path) -> None:
    (tmp_path / "shop").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists and is not empty"):
        check_new(tmp_path / "shop", "shop")
    (tmp_path / "elsewhere").mkdir()
    check_new(tmp_path / "shop", "shop")


def test_the_same_schemas_give_the_same_files_in_another_folder(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        root = project(tmp_path / name)
        generate(root, parse_project(root).resources)
        files = sorted(path for path in (root / "gen").rglob("*") if path.is_file())
        texts.append({path.relative_to(root): path.read_bytes() for path in files})
    assert texts[0] == texts[1]


def test_a_changed_page_makes_gen_stale_and_only_it_is_written(tmp_path: Path) -> None:
    resources = parse_project(project(tmp_path)).resources
    generate(tmp_path, resources)
    (tmp_path / "resources/country/views/list.html").write_text("<b>${title}</b>")
    assert generate(tmp_path, resources, check=True).written == ("pages/country_list.py",)
    assert generate(tmp_path, resources).written == ("pages/country_list.py",)


def test_a_mistake_in_a_page_writes_nothing(tmp_path: Path) -> None:
    resources = parse_project(project(tmp_path)).resources
    (tmp_path / "resources/country/views/list.html").write_text("<script>${title}</script>")
    with pytest.raises(ErrorGroup):
        generate(tmp_path, resources)
    assert not (tmp_path / "gen").exists()


def test_a_resource_that_is_gone_takes_its_files_along(tmp_path: Path) -> None:
    generate(tmp_path, parse_project(project(tmp_path)).resources)
    report = generate(tmp_path, ())
    assert any(path.startswith("country/") for path in report.removed)
    assert not (tmp_path / "gen" / "country").exists()


def test_a_resource_is_scaffolded_once(tmp_path: Path) -> None:
    (country,) = parse_project(project(tmp_path)).resources
    written = scaffold_resource(tmp_path, country)
    assert "resources/country/actions.py" in written and "resources/country/jobs.py" in written
    for path in written:
        compile((tmp_path / path).read_text(), path, "exec")
        (tmp_path / path).write_text("mine")
    assert scaffold_resource(tmp_path, country) == []


def test_a_project_is_started_in_an_empty_folder_only(tmp_path: Path) -> None:
    assert "app.py" in scaffold_project(tmp_path / "shop", "shop")
    with pytest.raises(UsageError):
        scaffold_project(tmp_path / "shop", "shop")
    for name in ("", "My Shop", "../x", "1x", "x\n"):
        with pytest.raises(UsageError):
            scaffold_project(tmp_path / "other", name)
    assert not (tmp_path / "other").exists()


def test_git_takes_no_secrets_of_a_new_project(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    scaffold_project(root, "shop")
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / ".env").write_text("OWNER_PASSWORD=x\n")
    command = ["git", "-C", root, "status", "--porcelain", "--untracked-files=all"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "app.py" in told and ".env" not in told


@given(schema_files())
@settings(max_examples=40, deadline=None)
def test_every_valid_schema_gives_files_that_compile(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    root = tmp_path_factory.mktemp("any")
    resources = parse(thing=source).resources
    assert generate(root, resources).written  # refuses what does not compile
    for path, text in ((p, (root / p).read_text()) for p in scaffold_resource(root, resources[0])):
        compile(text, path, "exec")
