"""The vendor folder: what is in it, that it is the same again, that its installer checks it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import Manifest, read_members
from forge_min.ship import VendorResult, vendor
from forge_min.ship.artifact.distributions import collect, members, normalise
from forge_min.ship.project import read_project
from forge_min.ship.vendor.sbom import NAME as SBOM
from forge_min.ship.vendor.sbom import sbom_of_artifact
from forge_min.ship.vendor.wheelhouse import read_lock, read_wheelhouse

from wheels import alter, environment

pytestmark = pytest.mark.slow

Copy = Callable[[Path], Path]


@pytest.fixture(scope="module")
def vendored(tmp_path_factory: pytest.TempPathFactory, copy_example: Copy) -> VendorResult:
    """The example's, of the installed packages."""
    return vendor(copy_example(tmp_path_factory.mktemp("vendored") / "departures"), offline=True)


@pytest.fixture
def folder(vendored: VendorResult, tmp_path: Path) -> Iterator[Path]:
    """A copy of it to spoil, and nothing that a test leaves in the first."""
    before = read_members(vendored.path)
    yield Path(shutil.copytree(vendored.path, tmp_path / "vendor"))
    assert read_members(vendored.path) == before


def install(
    folder: Path, *arguments: str | Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Runs the installer in the folder above."""
    return subprocess.run(
        ["sh", folder / "install.sh", *arguments],
        cwd=folder.parent,
        env=environment(**environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_wheels_lock_sums_licences_bill_and_installer(vendored: VendorResult) -> None:
    names = set(read_members(vendored.path))
    assert {"install.sh", "requirements.lock", "SHA256SUMS", "sbom.cdx.json"} <= names
    found = {name for name in names if name.endswith(".whl")}
    assert found == {
        f"{'pip' if file.startswith('pip-') else 'wheelhouse'}/{file}" for file in vendored.wheels
    }
    for name in ("forge-min", "psycopg", "psycopg-binary", "opentelemetry-sdk", "pip"):
        assert any(file.startswith(name.replace("-", "_") + "-") for file in vendored.wheels)
        assert any(text.startswith(f"licenses/{name}-") for text in names)
        assert vendored.licences[name]
    assert list(vendored.steps) == ["own wheel", "wheels", "folder"]


def test_every_file_is_in_the_sums_and_every_wheel_in_the_lock(vendored: VendorResult) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=vendored.path,
        check=False,
    )
    assert checked.returncode == 0
    files = read_members(vendored.path)
    sums = Manifest.read(files.pop("SHA256SUMS").decode())
    assert sums.differences(files) == {}
    locked = read_lock(files["requirements.lock"].decode())
    digests = {hashes for name, hashes in sums.hashes.items() if name.startswith("wheelhouse/")}
    assert set().union(*locked.values()) == digests


@pytest.mark.thorough
def test_the_same_inputs_give_the_same_bytes_over_an_older_folder(
    vendored: VendorResult, project: Path, tmp_path: Path
) -> None:
    older = Path(shutil.copytree(vendored.path, tmp_path / "older"))
    (older / "wheelhouse" / "old-1.0-py3-none-any.whl").write_bytes(b"")
    files = read_members(older)
    del files["SHA256SUMS"]
    (older / "SHA256SUMS").write_text(Manifest.of(files).write())
    again = vendor(project, output=older, offline=True)
    assert read_members(again.path) == read_members(vendored.path)


@pytest.fixture
def bills(
    vendored: VendorResult, project: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the folder, and of an artifact with a date."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    distributions = collect(["psycopg", "psycopg-binary", "opentelemetry-sdk"])
    text = sbom_of_artifact(read_project(project), distributions)
    return json.loads((vendored.path / SBOM).read_text()), json.loads(text)


def test_the_bills_of_folder_and_artifact_are_valid_strictly(bills: tuple[Any, Any]) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    version = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    validator = validation.JsonStrictValidator(version)
    for bill in bills:
        assert validator.validate_str(json.dumps(bill)) is None
        assert validator.validate_str(json.dumps({**bill, "more": 1})) is not None
    assert bills[1]["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"


def test_the_bills_name_every_part_once_and_what_it_needs(
    vendored: VendorResult, bills: tuple[Any, Any]
) -> None:
    for bill in bills:
        parts = {part["bom-ref"]: part for part in bill["components"]}
        assert len(parts) == len(bill["components"])
        needs = {row["ref"]: row["dependsOn"] for row in bill["dependencies"]}
        assert set().union(*needs.values()) == parts.keys() == needs.keys() - {"departures@0.1.0"}
        assert all(part["licenses"] for part in parts.values())
    parts = bills[0]["components"]
    digests = {part["hashes"][0]["content"] for part in parts if part["name"] != "pip"}
    locked = read_lock((vendored.path / "requirements.lock").read_text())
    assert digests == set().union(*locked.values())


def test_libraries_inside_a_wheel_are_in_the_bill(vendored: VendorResult) -> None:
    bill = json.loads((vendored.path / "sbom.cdx.json").read_text())
    (binary,) = [part for part in bill["components"] if part["name"] == "psycopg-binary"]
    assert binary["components"]
    assert all(part["name"] != "psycopg_binary" for part in binary["components"])


def test_a_folder_of_somebody_else_is_left_alone(project: Path) -> None:
    (project / "vendor").mkdir()
    (project / "vendor" / "mine").write_text("mine")
    with pytest.raises(BuildError, match="was not made by this command") as caught:
        vendor(project, offline=True)
    assert caught.value.code == "F360"
    assert os.listdir(project / "vendor") == ["mine"]


def test_a_project_with_a_lock_of_its_own_is_no_vendor_folder(project: Path) -> None:
    (project / "requirements.lock").write_text("# of another tool\n")
    before = read_members(project)
    for output in (project, project.parent, project / ".." / project.name):
        with pytest.raises(BuildError, match="it contains") as caught:
            vendor(project, output=output, offline=True)
        assert caught.value.code == "F360"
    assert read_members(project).keys() == before.keys()


def test_a_note_in_a_vendor_folder_keeps_it(folder: Path, project: Path) -> None:
    (folder / "NOTES.txt").write_text("mine")
    with pytest.raises(BuildError, match="it contains NOTES.txt"):
        vendor(project, output=folder, offline=True)
    assert (folder / "NOTES.txt").read_text() == "mine"


def test_an_artifact_gets_the_same_members_from_the_wheelhouse(folder: Path) -> None:
    names = ["psycopg", "psycopg-binary", "opentelemetry-sdk"]
    installed = [members(dist) for dist in collect(names)]
    house = read_wheelhouse(folder)
    assert house is not None
    assert [members(dist) for dist in collect(names, house.find)] == installed


# -- the installer ---------------------------------------------------------------------------------


def spoil_a_wheel(folder: Path) -> str:
    path = min(folder.glob("wheelhouse/typing_extensions-*"))
    alter(path)
    return f"wheelhouse/{path.name} was altered"


def add_a_file(folder: Path) -> str:
    (folder / "wheelhouse" / "more.whl").write_bytes(b"")
    return "wheelhouse/more.whl was added"


def remove_a_file(folder: Path) -> str:
    (folder / "sbom.cdx.json").unlink()
    return "sbom.cdx.json is missing"


def add_a_link_to_a_folder(folder: Path) -> str:
    (folder / "wheelhouse" / "more").symlink_to("/")
    return "wheelhouse/more was added"


def add_an_empty_folder(folder: Path) -> str:
    (folder / "wheelhouse" / "more").mkdir()
    return "wheelhouse/more was added"


def link_a_file(folder: Path) -> str:
    path = (folder / "sbom.cdx.json").rename(folder.parent / "sbom")
    (folder / "sbom.cdx.json").symlink_to(path)
    return "sbom.cdx.json was altered"


SPOILS = [spoil_a_wheel, add_a_file, remove_a_file, add_a_link_to_a_folder, add_an_empty_folder]


@pytest.mark.parametrize("spoil", [*SPOILS, link_a_file])
def test_the_installer_installs_nothing_of_a_folder_that_was_changed(
    folder: Path, spoil: Callable[[Path], str]
) -> None:
    what = spoil(folder)
    done = install(folder, "env")
    assert done.returncode == 1 and what in done.stderr and "hint: " in done.stderr
    assert not (folder.parent / "env").exists()


@pytest.mark.thorough
def test_pip_compares_with_the_lock_even_if_the_sums_were_changed_too(folder: Path) -> None:
    alter(min(folder.glob("wheelhouse/typing_extensions-*")))
    files = read_members(folder)
    del files["SHA256SUMS"]
    (folder / "SHA256SUMS").write_text(Manifest.of(files).write())
    done = install(folder, "env")
    assert done.returncode == 1 and "DO NOT MATCH THE HASHES" in done.stderr
    assert not list(folder.parent.glob("env/lib/*/site-packages/psycopg"))


def test_a_python_that_the_wheels_are_not_for_is_told_so(folder: Path) -> None:
    lock = folder / "requirements.lock"
    lock.write_text(re.sub(r"CPython 3\.\d+", "CPython 3.99", lock.read_text()))
    done = install(folder, "env")
    assert done.returncode == 1 and "these wheels are for CPython 3.99" in done.stderr
    assert not (folder.parent / "env").exists()


def test_a_folder_with_much_that_is_wrong_is_told_in_a_few_words(folder: Path) -> None:
    for number in range(30):
        (folder / f"more{number}").touch()
    done = install(folder, "env")
    assert "more1 was added" in done.stderr and "and 21 more" in done.stderr
    assert done.stderr.count("was added") == 9


@pytest.mark.parametrize("target", [".venv", "deep/env", "."])
def test_nothing_is_installed_into_the_folder_itself(folder: Path, target: str) -> None:
    done = install(folder, folder / target)
    assert done.returncode == 1 and "is inside the folder" in done.stderr
    assert "hint: " in done.stderr and "vendor/install.sh" in done.stderr


def test_an_environment_that_exists_is_left_alone(folder: Path) -> None:
    (folder.parent / ".venv").mkdir()
    (folder.parent / ".venv" / "mine").write_text("mine")
    done = install(folder)
    assert done.returncode == 1 and ".venv exists" in done.stderr
    assert os.listdir(folder.parent / ".venv") == ["mine"]


def test_a_place_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder.parent / "file").write_text("")
    done = install(folder, "file/env")
    assert done.returncode == 1 and "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["SHA256SUMS", "requirements.lock"])
@pytest.mark.parametrize("text", [None, ""])
def test_a_folder_without_its_lists_is_told_so(folder: Path, name: str, text: str | None) -> None:
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    done = install(folder, "env")
    assert done.returncode == 1 and "nothing was installed" in done.stderr
    assert "Traceback" not in done.stderr and not (folder.parent / "env").exists()


@pytest.mark.thorough
def test_no_variable_of_pips_leads_it_into_another_environment(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    done = install(folder, "env", PIP_PYTHON=str(other / "bin" / "python"))
    assert done.returncode == 0, done.stderr
    assert (folder.parent / "env" / "bin" / "forge-min").exists()
    assert not list(other.glob("lib/*/site-packages/forge_min"))


# -- without a network -----------------------------------------------------------------------------


def alone() -> list[str]:
    """What runs a command in a network namespace without an uplink; skips where nothing can."""
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("NOT PROVED: this machine makes no network namespaces (unshare -rn)")
    return command


@pytest.mark.thorough
def test_installer_and_offline_build_work_without_a_network_and_ask_for_none(
    folder: Path, project: Path, tmp_path: Path
) -> None:
    folder.rename(project / "vendor")
    trace = tmp_path / "trace"
    strace = shutil.which("strace")
    traced = [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=network", "-o", trace]
    (tmp_path / "env").mkdir()
    for left in (".unfinished", "left"):  # by an installer that was killed
        (tmp_path / "env" / left).touch()
    script = """
        sh vendor/install.sh "$1/env" &&
        "$1/env/bin/forge-min" build --offline -o "$1/departures.pyz" &&
        "$1/env/bin/python" -I -S "$1/departures.pyz" version --json
    """
    done = subprocess.run(
        [*alone(), *(traced if strace else []), "sh", "-ec", script, "sh", tmp_path],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1])["name"] == "departures"
    assert not {".unfinished", "left"} & set(os.listdir(tmp_path / "env"))
    inside = read_members(tmp_path / "departures.pyz")
    parts = {(part["name"], part["version"]) for part in json.loads(inside[SBOM])["components"]}
    inputs = json.loads(inside["build-info.json"])["inputs"]
    assert parts == {(normalise(name), version) for name, version in inputs.items()}
    if strace is None:
        pytest.skip("NOT PROVED: strace is not installed, so nobody counted the connects")
    assert attempts(trace) == []


def attempts(trace: Path) -> list[str]:
    """The lines of strace about connecting, or sending to an address. Not about binding: pip asks
    so whether there is IPv6.
    """
    told = trace.read_text().splitlines()
    return [line for line in told if re.search(r" connect[(]| send.*AF_INET", line)]


def test_the_count_sees_an_attempt(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("NOT PROVED: strace is not installed, so nobody counted the connects")
    trace = tmp_path / "trace"
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    traced = [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=network", "-o", trace]
    subprocess.run([*traced, sys.executable, "-c", code], check=True)
    assert "htons(9)" in " ".join(attempts(trace))


@pytest.mark.long
def test_wheels_for_both_c_libraries_come_from_the_index(project: Path) -> None:
    done = vendor(project)
    binaries = [file for file in done.wheels if file.startswith("psycopg_binary-")]
    assert sorted("musllinux" in file for file in binaries) == [False, True]
    assert install(done.path, "env").returncode == 0


@pytest.mark.long
def test_what_the_index_has_not_is_told_in_its_words(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BuildError, match="No matching distribution") as caught:
        vendor(project)
    assert caught.value.code == "F370" and "--offline" in (caught.value.hint or "")
    assert not (project / "vendor").exists()


def test_it_has_the_manual(vendored: VendorResult) -> None:
    assert (vendored.path / "manual" / "index.html").is_file()
