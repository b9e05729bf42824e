"""What processes do while they load their application, or while their database starts."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.errors import Unavailable
from forge_min.testing import TestDatabase

from artifact_runner import Site, free_port
from waiting import wait_for

WAITS = "the start waits for it"
RECOVERS = "starting, stopping or recovering"

# Runs the artifact with a psycopg that cannot be imported before a file exists.
HELD = """
import os, runpy, sys, time
class Held:
    def find_spec(self, name, path=None, target=None):
        if name == "psycopg":
            sys.meta_path.remove(self)
            while not os.path.exists(os.environ["GO"]):
                time.sleep(0.01)
sys.meta_path.insert(0, Held())
while not sys.argv[0].endswith(".pyz"):
    del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.thorough
@pytest.mark.db
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_lives_before_it_has_loaded_its_application(
    site: Any, tmp_path: Path, command: str
) -> None:
    assert site.run("migrate", "up").returncode == 0
    go = tmp_path / "go"
    process = site.start_as([sys.executable, "-I", "-S", "-c", HELD], command, GO=str(go))
    process.wait_for(lambda: site.status(site.admin, "/healthz") == 200, "/healthz")
    early = json.loads(site.ask("GET", "/healthz", port=site.admin)[2])
    status, _, body = site.ask("GET", "/readyz", port=site.admin)
    assert status == 503
    assert json.loads(body) == {"ready": False, "reasons": {"server": "starting"}}
    go.touch()
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready")
    late = json.loads(site.ask("GET", "/healthz", port=site.admin)[2])
    assert late == early and late["status"] == "ok" and late["impl"] == "c"
    assert process.stop() == 0, process.log


@pytest.mark.thorough
@pytest.mark.db
def test_a_process_that_starts_before_its_database_waits_for_it(
    artifact: Path, tmp_path: Path
) -> None:
    """The server is down, then it recovers: the processes log that once, and then work."""
    go = tmp_path / "go"
    server = EmbeddedServer(tmp_path / "pg", port=free_port(), settings={"fsync": "off"})
    server.start()
    site = Site(artifact, TestDatabase("", server.owner_url, server.app_url), tmp_path)
    try:
        assert site.run("migrate", "up").returncode == 0
        server.stop()
        early = site.start("worker", FORGE_ADMIN_PORT=str(free_port()))
        early.wait_for(lambda: WAITS in early.log, "waits")
        assert early.stop() == 0, early.log
        processes = [site.start("serve", "--no-jobs"), site.start("worker", FORGE_ADMIN_PORT="0")]
        for process in processes:
            process.wait_for(lambda p=process: WAITS in p.log, "waits")
        # Recovery lasts until the archive has answered: until then no session is accepted.
        (server.data / "pg" / "recovery.signal").touch(0o666)
        server.settings |= {"restore_command": f"until [ -e {go} ]; do sleep 0.05; done; false"}
        starting = threading.Thread(target=server.start)
        starting.start()
        wait_for(lambda: refusal(site.environ["FORGE_DATABASE_URL"]) == RECOVERS)
        go.touch()
        starting.join(60)
        serving, working = processes
        serving.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready")
        working.wait_for(lambda: "working the queues" in working.log, "works")
        for process in processes:
            assert process.log.count(WAITS) == 1 and process.stop() == 0, process.log
    finally:
        go.touch()
        site.stop()
        server.stop()


def refusal(url: str) -> str:
    try:
        db.connect(url).close()
    except Unavailable as err:
        return err.message.partition(" is ")[2]
    return ""
