"""What the admin server answers while a process still loads its application."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

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
