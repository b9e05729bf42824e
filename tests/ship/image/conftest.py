"""Base images made here by debootstrap, the example's image built on them, and PostgreSQL.

The bases stay in .run/image, which `make clean` removes.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from image_runner import LIMITS, RUN, Buildah, Image, Machine

REPOSITORY = Path(__file__).parents[3]
BASE, BUILD_BASE = "localhost/base:run", "localhost/base:build"
HOST = "localhost/base:systemd"
TOOLS = ("buildah", "netavark", "debootstrap")
DEPENDENCIES = ["psycopg[binary]>=3.2,<4", "opentelemetry-sdk>=1.25,<2"]
# Of this machine's pip: what it needs to reach an index.
OF_PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert")


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    """With the two base images: one that has pip and Python's headers, one that has Python."""
    if os.geteuid() != 0 or shutil.which("buildah") is None or shutil.which("debootstrap") is None:
        pytest.fail(f"make image-test needs root, and of Debian: {', '.join(TOOLS)}")
    made = Buildah(REPOSITORY / ".run" / "image")
    if not made.has(BASE):
        _make_base(made)
    if not made.has(BUILD_BASE):
        _make_build_base(made)
    if not made.has(HOST):
        made("commit", "--rm", _with_packages(made, "systemd", "dbus"), HOST)
    yield made
    made("rmi", "--prune", "--force")  # what this run's images have replaced


def _make_base(buildah: Buildah) -> None:
    folder = REPOSITORY / ".run" / "image" / "debian"
    shutil.rmtree(folder, ignore_errors=True)
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3,python-is-python3,ca-certificates",
         release, folder, *_mirror()],
        check=True, timeout=900,
    )  # fmt: skip
    for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(folder / name)
    shutil.copytree("/etc/apt/apt.conf.d", folder / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs")
    container = buildah("from", "scratch")
    buildah("add", container, folder, "/")
    buildah("commit", "--rm", container, BASE)
    shutil.rmtree(folder)


def _mirror() -> list[str]:
    """Where this machine's apt gets Debian from, or nothing."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [site for site in told if site.startswith("http")][:1]


def _make_build_base(buildah: Buildah) -> None:
    """Debian's Python takes packages of pip as the image python:slim does."""
    container = _with_packages(buildah, "python3-pip", "python3-dev")
    remove = "rm /usr/lib/python3*/EXTERNALLY-MANAGED"
    buildah("run", *RUN, container, "--", "sh", "-c", remove)
    told = REPOSITORY / ".run" / "image" / "pip.conf"
    told.write_text("[global]\nfind-links = /packages\n" + "".join(_pip_settings()))
    buildah("copy", container, told, "/etc/pip.conf")
    told.unlink()
    buildah("commit", "--rm", container, BUILD_BASE)


def _with_packages(buildah: Buildah, *names: str) -> str:
    """A container of the base with packages of Debian's."""
    container = buildah("from", "--pull-never", *LIMITS, BASE)
    install = f"apt-get install --yes --no-install-recommends {' '.join(names)}"
    for line in ("apt-get update", install, "rm -rf /var/lib/apt/lists/*"):
        buildah("run", *RUN, container, "--", "sh", "-c", line)
    return container


def _pip_settings() -> Iterator[str]:
    for key in OF_PIP:
        for section in ("global", "install", ":env:"):
            asked = [sys.executable, "-m", "pip", "config", "get", f"{section}.{key}"]
            told = subprocess.run(asked, capture_output=True, text=True, check=False)
            if told.returncode == 0:
                yield f"{key} = {told.stdout.strip()}\n"
                break


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this checkout's sdist and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("packages")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY]
    environ = {**os.environ, "FORGE_REQUIRE_EXT": "1"}
    subprocess.run(build, check=True, timeout=900, env=environ)
    return folder


@pytest.fixture(scope="session")
def fill_vendor(packages: Path) -> Callable[[Path], Path]:
    """Puts a wheelhouse and its lock with hashes into a folder, and gives it back."""

    def fill(folder: Path) -> Path:
        house = folder / "wheelhouse"
        house.mkdir(parents=True)
        shutil.copy(next(packages.glob("*.whl")), house)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "-d", house]
        subprocess.run([*pip, *DEPENDENCIES], check=True, timeout=600)
        lines = []
        for wheel in sorted(house.glob("*.whl")):
            name, version = wheel.name.split("-")[:2]
            lines.append(
                f"{name}=={version} --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}"
            )
        (folder / "requirements.lock").write_text("\n".join(lines) + "\n")
        return folder

    return fill


@pytest.fixture(scope="session")
def base(buildah: Buildah) -> Iterator[Image]:
    """The base that the second stage stands on."""
    with buildah.mounted(BASE) as image:
        yield image


@pytest.fixture
def machine(buildah: Buildah, tmp_path: Path) -> Iterator[tuple[Path, Machine]]:
    """The root of one that runs systemd, and it."""
    with buildah.mounted(HOST) as image:
        running = Machine(image.root, tmp_path / "boot.log")
        try:
            yield image.root, running
        finally:
            running.stop()
