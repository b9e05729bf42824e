"""The build of the example: its steps, its bytes, what is in it, and that it runs nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import forge_min
import pytest
from forge_min.errors import BuildError
from forge_min.manifest import INFO, NAME, Manifest, read_members
from forge_min.ship import BuildResult
from forge_min.ship import pipeline as pipeline_module
from forge_min.ship.pipeline import files_of_git
from forge_min.ship.progress import no_network
from forge_min.ship.project import project_members, read_project

from building import build

pytestmark = pytest.mark.slow

PACKAGE = Path(forge_min.__file__).parent
MAKE = ("schema", "parse", "pages", "generate", "migrations", "ship")
Copy = Callable[[Path], Path]
TOP = ("testing", "dev", "commands", "cli.py", "__main__.py")


def run(artifact: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The artifact with the site-packages out of reach: it holds all that it needs."""
    return subprocess.run(
        [sys.executable, "-I", "-S", artifact, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.thorough
def test_three_named_steps_are_told_and_timed(project: Path) -> None:
    told: list[tuple[str, bool]] = []
    done = build(project, step=lambda name, seconds: told.append((name, seconds is not None)))
    assert list(done.steps) == ["generate", "css", "package"]
    assert told == [(name, ended) for name in done.steps for ended in (False, True)]
    assert all(seconds >= 0 for seconds in done.steps.values())


def test_the_artifact_lies_in_dist_with_its_sums(project: Path) -> None:
    done = build(project)
    assert done.path == project / "dist" / "departures.pyz"
    assert sorted(os.listdir(project / "dist")) == ["SHA256SUMS", "departures.pyz"]
    assert done.size == done.path.stat().st_size < 8_000_000


@pytest.mark.thorough
def test_a_secret_in_forge_toml_is_a_warning(project: Path) -> None:
    with (project / "forge.toml").open("a") as file:
        file.write('[auth]\nsecret = "0123456789abcdef0123456789abcdef"\n')
    line = len((project / "forge.toml").read_text().splitlines())
    command = [sys.executable, "-m", "forge_min", "--project", project, "build"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert told == (
        f"warning[F354]: forge.toml:{line}: auth.secret is a secret, and every copy of the "
        "artifact contains it\n"
        "hint: remove it there, and set FORGE_AUTH_SECRET on the machine that runs the artifact\n"
    )
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    assert [one["code"] for one in json.loads(again)["warnings"]] == ["F354"]


@pytest.mark.parametrize("format", ["zipapp", "dir"])
def test_it_runs_without_site_packages(project: Path, format: str) -> None:
    done = build(project, format=format)  # type: ignore[arg-type]
    shown = run(done.path, "version", "--json")
    assert shown.stderr == ""
    assert json.loads(shown.stdout)["name"] == "departures"


LOADS = """
import sys
from pathlib import Path
from forge_min.ship import build, parse_schemas
root = Path(sys.argv[1])
build(root, parse_schemas(root).resources)
names = {m.partition(".")[0] for m in sys.modules}
print(*sorted(names & {"psycopg", "psycopg_binary", "psycopg_c", "opentelemetry", "app", "gen"}))
"""


def test_a_build_loads_neither_psycopg_nor_opentelemetry_nor_the_project(project: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", LOADS, project], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == []


def test_a_build_runs_no_user_code(project: Path) -> None:
    for path in [project / "app.py", *project.glob("resources/*/*.py")]:
        text = f"{path.read_text()}\nopen({str(project / 'ran')!r}, 'w')\n"
        if path.name != "schema.py":  # parse itself refuses calls in a schema
            path.write_text(text)
    build(project)
    assert not (project / "ran").exists()


def test_a_build_by_m_runs_no_module_of_the_project_that_has_a_name_of_pythons_own(
    project: Path,
) -> None:
    for name in ("argparse", "email", "json", "tomllib", "zipfile"):
        (project / f"{name}.py").write_text(f"raise SystemExit('{name}.py ran')\n")
    done = subprocess.run(
        [sys.executable, "-m", "forge_min", "build", "-q"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.thorough
def test_a_pycache_prefix_of_whoever_builds_changes_no_artifact(
    project: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "forge_min", "--project", str(project)]
    for prefix in ("", str(tmp_path / "prefix")):
        environ = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONPYCACHEPREFIX": prefix}
        words = [*command, "build", "-q", "--format", "dir", *(["--verify"] if prefix else [])]
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), prefix


def test_nothing_that_builds_is_inside(built: BuildResult) -> None:
    names = set(read_members(built.path))
    inside = {name.split("/")[1] for name in names if name.startswith("forge_min/")}
    assert {"entry.py", "db", "wsgi", "app", "ops"} <= inside
    assert not inside & {*MAKE, *TOP}
    assert not [name for name in names if name.endswith(("schema.py", ".pyx", ".tmpl", ".c"))]


def test_what_a_project_must_have_is_inside(built: BuildResult) -> None:
    names = set(read_members(built.path))
    assert {"app.py", "app.pyc", "forge.toml", "gen/registry.py", "gen/openapi.json"} <= names
    assert {"resources/airport/jobs.py", "migrations/0002_airport_position.sql"} <= names
    assert {"typing_extensions.py", "psycopg/__init__.py", "static/css/board.css"} <= names
    assert "opentelemetry/sdk/trace/__init__.py" in names
    assert any(name.startswith("_native/psycopg_binary.libs/libpq") for name in names)
    with zipfile.ZipFile(built.path) as archive:
        assert "opentelemetry/" in archive.namelist()


def test_every_member_is_in_the_manifest_and_that_in_the_build_info(built: BuildResult) -> None:
    members = read_members(built.path)
    manifest = Manifest.read(members[NAME].decode())
    info = json.loads(members[INFO])
    assert manifest.differences(members) == {}
    assert info["manifest"] == manifest.digest
    assert set(members) == set(manifest.hashes) | {NAME, INFO}


def test_the_build_info_names_the_inputs(built: BuildResult) -> None:
    info = json.loads(read_members(built.path)[INFO])
    assert info == json.loads(json.dumps(dict(built.info)))
    assert (info["name"], info["commit"], info["date"]) == ("departures", "unknown", "unknown")
    assert info["python"] == sys.version.split()[0]
    assert {"psycopg", "psycopg-binary", "opentelemetry-sdk", "forge-min"} <= set(info["inputs"])


@pytest.mark.thorough
def test_the_date_is_source_date_epoch(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert build(project).info["date"] == "1970-01-02T00:00:00+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildError) as caught:
        build(project)
    assert caught.value.code == "F200"


@pytest.mark.thorough
def test_commit_and_date_come_from_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("NAME", "a"), ("EMAIL", "a@example.invalid"), ("DATE", "@5 +0000")):
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", project, *command], check=True)
    info = build(project).info
    assert len(str(info["commit"])) == 40
    assert info["date"] == "1970-01-01T00:00:05+00:00"
    (project / "app.py").write_text((project / "app.py").read_text() + "\n")
    assert build(project).info["commit"] == f"{info['commit']}+changes"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["static/more.txt", "resources/flight/views/more.html"])
def test_a_file_that_no_commit_has_is_told_of_and_what_a_build_makes_is_not(
    project: Path, name: str
) -> None:
    (project / ".gitignore").write_text("gen/\nmore.*\n")
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = build(project).info["commit"]
    assert len(str(clean)) == 40
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("<p>more</p>\n")
    assert build(project).info["commit"] == f"{clean}+changes"


@pytest.mark.parametrize(("text", "wanted"), [("", True), ('@import "tailwindcss";', False)])
def test_a_stylesheet_that_tailwind_made_need_not_be_committed(
    project: Path, text: str, wanted: bool
) -> None:
    for name in ("app.css", "input.css"):
        (project / "static" / "css" / name).write_text(text)
    found = files_of_git(read_project(project), project_members(project))
    assert ("static/css/app.css" in found) is wanted
    assert {"static/css/input.css", "resources/flight/schema.py", "app.py"} <= found


@pytest.mark.thorough
def test_without_a_version_of_its_own_a_project_has_the_tags_or_that_of_its_archive(
    project: Path,
) -> None:
    toml = project / "forge.toml"
    toml.write_text(toml.read_text().replace('version = "0.1.0"\n', ""))
    assert build(project).info["version"] == "0.1.0"
    (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: departures\nVersion: 3.4rc1\n")
    assert build(project).info["version"] == "3.4rc1"
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1.2.0"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "tag", "spare"], check=True)
    assert build(project).info["version"] == "1.2.0"
    toml.write_text(toml.read_text().replace("[project]", '[project]\nversion = "7"'))
    assert build(project).info["version"] == "7"


@pytest.mark.thorough
def test_two_folders_give_the_same_bytes(
    tmp_path: Path, copy_example: Copy, built: BuildResult
) -> None:
    other = copy_example(tmp_path / "deeper" / "elsewhere" / "departures")
    for path in sorted(other.rglob("*"), reverse=True):
        os.utime(path, (1, 1))
    done = build(other, output=tmp_path / "out" / "any.name")
    assert done.path.read_bytes() == built.path.read_bytes()


@pytest.mark.thorough
def test_a_folder_that_exists_takes_the_file(project: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = build(project, output=tmp_path / "out")
    assert done.path == tmp_path / "out" / "departures.pyz"


Harm = Callable[[Path], object]


@pytest.mark.parametrize("format", ["zipapp", "dir"])
@pytest.mark.parametrize("name", ["SHA256SUMS", "build-info.json", NAME, "sbom.cdx.json"])
def test_an_artifact_takes_no_name_of_a_file_that_is_read_beside_it(
    project: Path, tmp_path: Path, name: str, format: Literal["zipapp", "dir"]
) -> None:
    with pytest.raises(BuildError, match=f"{name} cannot be an artifact") as caught:
        build(project, output=tmp_path / "out" / name, format=format)
    assert caught.value.code == "F010" and not (tmp_path / "out").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda p: (p / "app.py").write_text("def f(:\n"), "F344"),
        (lambda p: (p / "static" / "x").symlink_to("/etc/passwd"), "F343"),
        (lambda p: (p / "views" / "x.html").symlink_to("/etc/hostname"), "F343"),
        (lambda p: os.mkfifo(p / "static" / "css" / "x.css"), "F343"),
        (lambda p: (p / "forge.toml").unlink(), "F340"),
        (lambda p: (p / "static/css/b.css").write_text("@import '//x.invalid/a.css';"), "F343"),
    ],
)
def test_a_failing_build_leaves_the_old_artifact(project: Path, harm: Harm, code: str) -> None:
    path = build(project).path
    before = path.read_bytes()
    harm(project)
    with pytest.raises(BuildError) as caught:
        build(project)
    assert caught.value.code == code
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["SHA256SUMS", "departures.pyz"]


@pytest.mark.thorough
def test_skip_css_leaves_stylesheets_unread(project: Path) -> None:
    (project / "static/css/b.css").write_text("@import '//x.invalid/a.css';")
    build(project, skip_css=True)


def test_all_mistakes_in_schemas_come_at_once_and_nothing_is_written(project: Path) -> None:
    for name in ("airport", "country"):
        schema = project / "resources" / name / "schema.py"
        schema.write_text(schema.read_text().replace("schema.string(", "schema.strange(", 1))
    command = [sys.executable, "-m", "forge_min", "--project", project, "build"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for name in ("airport", "country"):
        assert f"--> resources/{name}/schema.py:" in done.stderr
    assert not (project / "gen").exists()
    assert not (project / "dist").exists()


def test_a_member_that_two_want_is_an_error(project: Path) -> None:
    (project / "psycopg").mkdir()
    (project / "psycopg" / "__init__.py").write_text("")
    (project / "app.py").write_text("import psycopg\n" + (project / "app.py").read_text())
    with pytest.raises(BuildError, match="psycopg/__init__.py") as caught:
        build(project)
    assert caught.value.code == "F343"


def test_an_offline_build_reaches_for_nothing(project: Path) -> None:
    assert build(project, offline=True).path.is_file()


@pytest.mark.thorough
def test_an_offline_build_stops_what_reaches_for_the_network(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(root: Path) -> int:
        return len(socket.getaddrinfo("localhost", 80))

    monkeypatch.setattr(pipeline_module, "check_stylesheets", reach)
    assert build(project).path.is_file()
    with pytest.raises(BuildError) as caught:
        build(project, offline=True)
    assert caught.value.code == "F346"


def test_after_an_offline_build_the_network_is_there_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with no_network(), pytest.raises(BuildError):
            socket.create_connection(server.getsockname())
        socket.create_connection(server.getsockname()).close()
