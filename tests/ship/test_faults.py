"""Places that fail for real: a full disk, a folder that is read-only, one that runs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forge_min.ship import BuildResult

from building import build

PACKAGE = Path(__file__).parents[2]
# Mounts that only the commands after them see, made without rights (user_namespaces(7)).
ALONE = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "mount -t tmpfs none /mnt"], check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _can_mount(), reason="NOT PROVED: no user namespace here may mount"),
]


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A shell with mounts of its own; PY is this Python, MAKE the command line."""
    variables = {
        "PATH": os.environ["PATH"],
        "PY": f"{sys.executable} -I -S",
        "MAKE": f"{sys.executable} -m forge_min",
        "PYTHONPATH": str(PACKAGE),
        **environ,
    }
    return subprocess.run(
        [*ALONE, script], env=variables, capture_output=True, text=True, timeout=120, check=False
    )


FULL = """
mount -t tmpfs -o size=10m none $PLACE
cp $OLD $PLACE/x.pyz
$MAKE --project $PROJECT build -q -o $PLACE/x.pyz || echo failed $?
cmp $OLD $PLACE/x.pyz
ls -A $PLACE
"""


READ_ONLY = """
mount -t tmpfs none $PLACE
cp $OLD $PLACE/x.pyz
mount -o remount,ro $PLACE
$MAKE --project $PROJECT build -q -o $PLACE/x.pyz || echo failed $?
cmp $OLD $PLACE/x.pyz
ls -A $PLACE
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("script", "why"),
    [(FULL, "No space left"), (READ_ONLY, "Read-only")],
    ids=["a full disk", "a read-only folder"],
)
def test_where_nothing_can_be_written_the_old_artifact_stays_and_nothing_half(
    project: Path, built: BuildResult, tmp_path: Path, script: str, why: str
) -> None:
    (tmp_path / "place").mkdir()
    (project / "app.py").write_text((project / "app.py").read_text() + "\n")
    paths = {"PLACE": str(tmp_path / "place"), "OLD": str(built.path), "PROJECT": str(project)}
    done = run(script, **paths)
    assert done.stdout.split() == ["failed", "1", "x.pyz"], done.stderr
    assert "error[F002]" in done.stderr and why in done.stderr


NEW = """
mount -t tmpfs -o size=$SIZE none $PLACE
cd $PLACE
$BEFORE
$MAKE init shop || echo failed $?
ls -A . shop 2>/dev/null || true
mount -o remount,size=10m none $PLACE
$MAKE -q init shop >/dev/null
$MAKE --project shop generate --check >/dev/null
"""


@pytest.mark.parametrize("size", ["16k", "60k", "90k"])
@pytest.mark.parametrize(("before", "left"), [(":", ""), ("mkdir shop", ".: shop shop:")])
def test_on_a_full_disk_nothing_of_a_new_project_is_left_and_the_next_try_works(
    tmp_path: Path, size: str, before: str, left: str
) -> None:
    done = run(NEW, PLACE=str(tmp_path), SIZE=size, BEFORE=before)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["failed", "1", *(left or ".:").split()]
    assert done.stderr.startswith("error[F002]: ") and "No space left" in done.stderr


MIGRATION = """
mount -t tmpfs -o size=10m none $PLACE
cp -r $PROJECT $PLACE/shop
rm -r $PLACE/shop/migrations
mkdir $PLACE/shop/migrations
$STEP
$MAKE --project $PLACE/shop migrate diff || echo failed $?
ls -A $PLACE/shop/migrations
mount -o remount,rw,size=10m none $PLACE
rm -f $PLACE/filler
$MAKE --project $PLACE/shop migrate diff >/dev/null
ls -A $PLACE/shop/migrations
"""


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("cat /dev/zero > $PLACE/filler 2>/dev/null || true", "No space left"),
        ("mount -o remount,ro $PLACE", "Read-only"),
    ],
)
def test_a_migration_is_written_whole_or_not_at_all(
    project: Path, tmp_path: Path, step: str, why: str
) -> None:
    (tmp_path / "place").mkdir()
    script = MIGRATION.replace("$STEP", step)
    done = run(
        script, PLACE=str(tmp_path / "place"), PROJECT=str(project), PYTHONDONTWRITEBYTECODE="1"
    )
    assert done.stdout.split() == ["failed", "1", "0001_initial.sql"], done.stderr
    assert done.stderr.startswith("error[F002]: ") and why in done.stderr
    assert "hint: " in done.stderr and "defect" not in done.stderr


OWN = """
cd $PLACE
mkdir -m 0750 shop
test $MOUNTED = no || mount -t tmpfs -o size=10m,mode=0750 none shop
$MAKE -q init shop >/dev/null
stat -c %a shop
ls -A . shop | grep -c forge-
"""


@pytest.mark.parametrize("mounted", ["no", "yes"])
def test_an_empty_folder_of_somebodys_own_is_filled_as_it_is(tmp_path: Path, mounted: str) -> None:
    done = run(OWN, PLACE=str(tmp_path), MOUNTED=mounted)
    assert done.stdout.split() == ["750", "0"], done.stderr


# psycopg is loaded, with its own libpq, before it finds that nobody listens.
STARTS = """
export FORGE_DATABASE_URL=postgresql://x:y@127.0.0.1:1/z
$PY $ARTIFACT migrate status || true
$AFTER
"""


def starts(script: str, built: BuildResult, **environ: str) -> subprocess.CompletedProcess[str]:
    """The artifact starts in such a place, for a second time too, and its compiled parts work."""
    done = run(script + STARTS, **{"ARTIFACT": str(built.path), "AFTER": ":", **environ})
    assert done.stderr.startswith("error[F401]: nothing listens"), done.stderr
    return done


@pytest.mark.parametrize("option", ["noexec", "size=6m"])
def test_a_cache_that_cannot_hold_the_parts_gives_way_and_keeps_nothing_half(
    built: BuildResult, tmp_path: Path, option: str
) -> None:
    mounts = f"""
    mkdir $D/cache
    mount -t tmpfs -o {option} none $D/cache
    export XDG_CACHE_HOME=$D/cache
    """
    done = starts(mounts, built, D=str(tmp_path), AFTER=f"ls -A {tmp_path}/cache/forge_min")
    assert done.stdout == ""


def test_where_nothing_can_be_written_the_parts_are_held_in_memory(
    built: BuildResult, tmp_path: Path
) -> None:
    """No home, no cache: what a container with a read-only root has."""
    mounts = """
    mkdir $D/home
    mount -t tmpfs -o ro none $D/home
    export HOME=$D/home
    """
    starts(mounts, built, D=str(tmp_path))
    assert list((tmp_path / "home").iterdir()) == []


def test_without_a_home_it_starts_too(built: BuildResult, tmp_path: Path) -> None:
    """A number of a user that nobody knows, as images have."""
    nobody = "export HOME=relative\ncd $D\n"
    starts(nobody, built, D=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


PLANTED = "import os; os.write(1, b'planted'); raise SystemExit"


def test_a_tampered_cache_is_not_used_by_an_artifact(built: BuildResult, tmp_path: Path) -> None:
    def version(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", *flags, str(built.path), "version"]
        environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True)

    version()
    (native,) = (tmp_path / "forge_min").glob("*/_native")
    (core,) = (native / "forge_min").glob("_fanout*.so")
    whole = core.read_bytes()
    (native / "argparse.py").write_text(PLANTED)  # would come before Python's own
    core.write_bytes(b"\0" * len(whole))
    assert "core: c" in version("-O").stdout
    assert core.read_bytes() == whole and not (native / "argparse.py").exists()
    seen = core.stat().st_ino
    version("-O")
    assert core.stat().st_ino == seen


@pytest.mark.thorough
@pytest.mark.parametrize("part", ["libpq-*", "_psycopg.*.so", "version.cpython-*.pyc"])
def test_what_was_written_into_the_cache_is_never_loaded_whatever_its_times_say(
    built: BuildResult, tmp_path: Path, part: str
) -> None:
    def doctor() -> str:
        command = [sys.executable, "-I", "-S", str(built.path), "doctor"]
        environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        environ["FORGE_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr and done.returncode == 1, done.stderr
        return done.stdout

    well = "ok       D103  database driver: psycopg"
    assert well in doctor()
    (folder,) = (tmp_path / "forge_min").iterdir()
    (path,) = folder.rglob(part)
    whole, seen = path.read_bytes(), path.stat()
    path.write_bytes(b"\0" * len(whole))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    os.utime(folder)
    assert well in doctor()
    assert path.read_bytes() == whole
    assert "ok       D203" in doctor()


@pytest.mark.thorough
def test_a_killed_build_leaves_the_old_artifact_whole(project: Path, built: BuildResult) -> None:
    shutil.copytree(built.path.parent, project / "dist")
    (project / "app.py").write_text((project / "app.py").read_text() + "\n")
    killed = (
        "import os, sys, zipfile\nfrom pathlib import Path\nfrom building import build\n"
        "real = zipfile.ZipFile.close\n"
        "def close(self):\n    real(self)\n    self.mode == 'w' and os.kill(os.getpid(), 9)\n"
        "zipfile.ZipFile.close = close\nbuild(Path(sys.argv[1]))"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", killed, project], env=environ, check=False)
    assert done.returncode == -9
    assert (project / "dist" / "departures.pyz").read_bytes() == built.path.read_bytes()
    build(project)
    assert sorted(os.listdir(project / "dist")) == ["SHA256SUMS", "departures.pyz"]
