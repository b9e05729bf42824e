"""A running artifact goes on with the file that it was started from, whatever takes its place."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from artifact_runner import DEADLINE, PYTHON, Process, Site, free_port

pytestmark = pytest.mark.db
Replace = Callable[[Path, Path], None]
MARK = "/* of the next release */"


def address(member: str) -> str:
    """Where a browser finds a static file; "" for any other member."""
    for folder, path in (("static/", "/static/"), ("forge_min/html/assets/", "/static/forge/")):
        if member.startswith(folder) and member[-1] != "/" and not member.endswith(".gz"):
            return path + member.removeprefix(folder)
    return ""


@pytest.fixture(scope="session")
def next_release(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact with longer static files and one member more: only `__main__` lies as before,
    which Python itself reads, by what it has read of the contents a moment ago.
    """
    made = tmp_path_factory.mktemp("next") / artifact.name
    made.write_bytes(artifact.read_bytes().partition(b"\n")[0] + b"\n")
    with zipfile.ZipFile(artifact) as old, zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as new:
        for place, entry in enumerate(old.infolist()):
            if place == 2:
                new.writestr("_another.txt", os.urandom(5_000))
            data = old.read(entry)
            more = MARK.encode() if address(entry.filename) else b""
            new.writestr(entry, data + more)
    return made


@pytest.fixture
def installed(site: Site, artifact: Path, tmp_path: Path) -> Site:
    """The site, started from a copy that a test may replace."""
    place = tmp_path / "opt" / artifact.name
    place.parent.mkdir()
    shutil.copy(artifact, place)
    site.artifact = place
    return site


def install(release: Path, place: Path) -> None:
    """As docs/operate/deploy.md does: the old file is unlinked, the new one written."""
    subprocess.run(["install", "-D", "-t", place.parent, release], check=True)


def rename(release: Path, place: Path) -> None:
    """As a build over it does."""
    fresh = place.with_name("fresh")
    shutil.copy(release, fresh)
    fresh.rename(place)


def remove(release: Path, place: Path) -> None:
    """Nothing at all is there any more."""
    place.unlink()


def static_files(artifact: Path) -> dict[str, bytes]:
    """Every file that a browser may ask for, by its path."""
    with zipfile.ZipFile(artifact) as members:
        return {path: members.read(n) for n in members.namelist() if (path := address(n))}


PAGES = ["/", "/countries", "/airports", "/flights", "/api/v1/countries", "/login"]


def answer(site: Site, path: str) -> tuple[int, bytes]:
    status, _, body = site.ask("GET", path)
    return status, body


def asked_until(
    site: Site, wanted: dict[str, bytes], stop: threading.Event, seen: list[tuple[str, int, bytes]]
) -> None:
    """Every static file again and again."""
    while not stop.is_set():
        for path in wanted:
            seen.append((path, *answer(site, path)))


def wait_for_more(process: Process, seen: list[Any]) -> None:
    enough = len(seen) + 100
    process.wait_for(lambda: len(seen) > enough, "load")


@pytest.mark.thorough
@pytest.mark.parametrize("replace", [install, rename, remove])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_answer_stays_that_of_the_file_it_was_started_from(
    installed: Site, artifact: Path, next_release: Path, replace: Replace, processes: str
) -> None:
    wanted = static_files(artifact)
    assert zipfile.ZipFile(artifact).namelist()[1] == "__main__.pyc"
    assert len(wanted) > 3 and not wanted.items() & static_files(next_release).items()
    process = installed.serve("--processes", processes)
    stop, seen = threading.Event(), list[tuple[str, int, bytes]]()
    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(asked_until, installed, wanted, stop, seen) for _ in range(3)]
        try:
            wait_for_more(process, seen)
            replace(next_release, installed.artifact)
            wait_for_more(process, seen)
            if replace is not remove:
                replace(next_release, installed.artifact)
                wait_for_more(process, seen)
        finally:
            stop.set()
    for future in asking:
        future.result()
    assert set(seen) == {(path, 200, body) for path, body in wanted.items()}
    for page in PAGES:  # parts of them load with the first request
        assert answer(installed, page)[0] in (200, 303, 404), page
    assert answer(installed, "/countries")[0] == 200
    assert installed.status(installed.admin, "/metrics") == 200
    assert process.stop() == 0, process.log
    assert "Error" not in process.log and "Traceback" not in process.log


UPGRADE = Path(__file__).parents[2] / "docs" / "operate" / "upgrade.md"


def commands_of(section: str, *, port: int = 0, admin: int = 0) -> str:
    """The commands of a section of the manual that start the new release, with these ports."""
    text = UPGRADE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    (script,) = [textwrap.dedent(block) for block in blocks if "new.pyz" in block]
    return script.replace("8001", str(port)).replace("9091", str(admin))


@pytest.mark.thorough
@pytest.mark.parametrize("section", ["With a short interruption", "One machine, without systemd"])
def test_the_manuals_upgrades_without_systemd_work(
    installed: Site, next_release: Path, section: str
) -> None:
    """On one machine: a second process on the port of the first ends with F500."""
    old = installed.serve()
    refused = installed.run("serve")
    assert refused.returncode == 1 and "error[F500]" in refused.stderr
    folder = installed.folder
    shutil.copy(next_release, folder / "new.pyz")
    (folder / "shop.pid").write_text(str(old.popen.pid))
    port, admin = installed.port, installed.admin
    if section.startswith("One"):
        port, admin = free_port(), free_port()
    for name, program in {"python3": f'exec {shlex.join(PYTHON)} "$@"', "nginx": "exit 0"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{program}\n")
        (folder / name).chmod(0o755)
    environ = installed.environ | {"PATH": f"{folder}:{installed.environ['PATH']}"}
    script = commands_of(section, port=port, admin=admin)
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(old.popen.wait)  # so that `kill -0` does not find a zombie
        upgrade = subprocess.run(
            ["sh", "-e", "-c", script], cwd=folder, env=environ, timeout=DEADLINE, check=False
        )
        try:
            assert upgrade.returncode == 0 and ended.result(DEADLINE) == 0, old.log
            deadline = time.monotonic() + DEADLINE
            while installed.status(admin, "/readyz") != 200:
                assert time.monotonic() < deadline, (folder / "shop.log").read_text()
                time.sleep(0.02)
            for path, data in static_files(next_release).items():
                assert installed.ask("GET", path, port=port)[2] == data
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((folder / "shop.pid").read_text()), signal.SIGTERM)


def is_bound(site: Site) -> bool:
    """Whether the port is there, which it is before psycopg and the pages are loaded."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", site.port), 1):
        return True
    return False


@pytest.mark.thorough
@pytest.mark.parametrize("replace", [install, remove])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_start_goes_on_with_the_file_that_it_began_with(
    installed: Site, artifact: Path, next_release: Path, replace: Replace, processes: str
) -> None:
    assert installed.run("migrate", "up").returncode == 0
    process = installed.start("serve", "--processes", processes)
    process.wait_for(lambda: is_bound(installed), "bound")
    replace(next_release, installed.artifact)
    process.wait_for(lambda: installed.status(installed.admin, "/readyz") == 200, "ready")
    for path, data in static_files(artifact).items():
        assert answer(installed, path) == (200, data)
    assert process.stop() == 0, process.log


@pytest.mark.thorough
def test_at_no_moment_of_a_start_does_a_release_that_is_moved_there_harm(
    installed: Site, artifact: Path, next_release: Path
) -> None:
    assert installed.run("migrate", "up").returncode == 0
    known = [static_files(artifact), static_files(next_release)]
    took = 0.0  # seconds that a start takes on this machine
    for turn in range(40):
        rename(artifact, installed.artifact)
        process, begun = installed.start("serve"), time.monotonic()
        time.sleep(took * turn / 40)
        rename(next_release, installed.artifact)
        process.wait_for(lambda: installed.status(installed.admin, "/readyz") == 200, "ready")
        took = took or time.monotonic() - begun
        assert {path: answer(installed, path)[1] for path in known[0]} in known
        assert process.stop() == 0, process.log


def test_by_a_path_that_is_not_absolute_too(
    installed: Site, artifact: Path, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = installed.artifact
    monkeypatch.chdir(place.parent)
    installed.artifact = Path(place.name)
    process = installed.serve()
    install(next_release, place)
    for path, data in static_files(artifact).items():
        assert answer(installed, path) == (200, data)
    assert process.stop() == 0, process.log


def test_programs_that_it_starts_do_not_get_the_handle(artifact: Path) -> None:
    code = (
        "import os, runpy, subprocess, sys; sys.argv = [sys.argv[1], 'version']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "for line in (os.listdir('/proc/self/fd'),): print(*[os.path.realpath('/proc/self/fd/' + x)"
        " for x in line])\n"
        "sys.stdout.flush(); subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False)\n"
    )
    shown = subprocess.run(
        [*PYTHON, "-c", code, artifact], capture_output=True, text=True, check=True
    ).stdout
    mine, _, of_program = shown.partition("total 0")
    assert str(artifact) in mine and of_program and str(artifact) not in of_program
