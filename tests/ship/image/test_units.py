"""The units that deploy writes, under a systemd that runs."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread

import pytest
from forge_min.ship import deploy
from forge_min.testing import TestDatabase

from artifact_runner import free_port
from image_runner import Machine, url

pytestmark = [pytest.mark.image, pytest.mark.db]

SERVICES = ("departures.service", "departures-worker.service")
ARTIFACT, ENVIRONMENT = "opt/departures/departures.pyz", "etc/departures/environment"
UNITS = "etc/systemd/system"
DYNAMIC = range(61184, 65520)  # systemd.exec(5), DynamicUser


def status(port: int) -> int:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        conn.request("GET", "/")
        return conn.getresponse().status
    finally:
        conn.close()


def statuses(port: int, *, until: Event) -> Iterator[int]:
    """One after the other, and one more when it is over. ConnectionRefusedError ends it."""
    while not until.is_set():
        yield status(port)
    yield status(port)


def install(root: Path, project: Path, artifact: Path, database: TestDatabase, port: int) -> None:
    """As docs/operate/deploy.md says, with ports that are free here."""
    dropins = {
        "departures.socket": f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n",
        SERVICES[0]: f"[Service]\nEnvironment=FORGE_ADMIN_PORT={free_port()}\n",
    }
    files = {f"{UNITS}/{unit}.d/override.conf": text for unit, text in dropins.items()}
    secret = "0123456789abcdef" * 3
    files[ENVIRONMENT] = f"FORGE_DATABASE_URL={url(database.app_url)}\nFORGE_AUTH_SECRET={secret}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ENVIRONMENT).chmod(0o600)
    (root / ARTIFACT).parent.mkdir(parents=True)
    shutil.copy(artifact, root / ARTIFACT)
    deploy(project, also=["systemd"])
    shutil.copytree(project / "systemd", root / UNITS, dirs_exist_ok=True)


def facts_of(run: Machine, service: str) -> Mapping[str, str]:
    """What the kernel says of its process (proc_pid_status(5))."""
    pid = run("systemctl", "show", "-P", "MainPID", service).stdout.strip()
    lines = run("cat", f"/proc/{pid}/status").stdout.splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_units_serve_without_rights_and_a_restart_refuses_nobody(
    project: Path, artifact: Path, fresh_database: TestDatabase, machine: tuple[Path, Machine]
) -> None:
    root, run = machine
    port = free_port()
    install(root, project, artifact, fresh_database, port)

    assert run("systemctl", "daemon-reload").returncode == 0
    given = ["-p", f"EnvironmentFile=/{ENVIRONMENT}"]
    given += ["-E", f"FORGE_DATABASE_MIGRATE_URL={url(fresh_database.owner_url)}"]
    up = ["python3", f"/{ARTIFACT}", "migrate", "up"]
    done = run("systemd-run", "--wait", "--pipe", *given, *up)
    assert done.returncode == 0, done.stderr
    done = run("systemctl", "start", "departures.socket", *SERVICES)
    assert done.returncode == 0, done.stderr
    assert status(port) == 200

    for service in SERVICES:
        facts = facts_of(run, service)
        assert int(facts["Uid"].split()[0]) in DYNAMIC
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")  # 2: a filter
        assert int(facts["CapBnd"], 16) == 0
    assert ".so" in run("find", "/var/cache/departures/", "-name", "*.so").stdout

    seen: list[int] = []
    restarted = Event()
    asking = Thread(target=lambda: seen.extend(statuses(port, until=restarted)))
    asking.start()
    assert run("systemctl", "restart", SERVICES[0]).returncode == 0
    restarted.set()
    asking.join(60)
    assert set(seen) == {200} and not asking.is_alive()
    run("systemctl", "stop", *SERVICES)
    for service in SERVICES:
        assert run("systemctl", "show", "-P", "Result", service).stdout.strip() == "success"
