"""A short run of `make storm`, and faults of a server that it must find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTY = """
import os, sys, threading
from wsgi import storm, storm_client

class Faulty(storm.Application):
    faults = 0

    def __call__(self, environ, start_response):
        body = super().__call__(environ, start_response)
        # More than one: a client may leave before it sees the response.
        if environ["PATH_INFO"][1] == "l" and self.handled.total() > 500 and self.faults < 5:
            self.faults += 1
            {fault}
        return body

storm_client.STUCK, storm.Application = {stuck}, Faulty
sys.exit(storm.main())
"""


def run_storm(core, *command):
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300,
        env={**os.environ, "FORGE_IMPL": core, "PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )  # fmt: skip


@pytest.mark.parametrize("core", ["c", pytest.param("python", marks=pytest.mark.thorough)])
def test_no_request_of_random_clients_is_stuck(core):
    if core == "c":
        pytest.importorskip("forge_min._fanout", reason="the compiled core is not built")
    done = run_storm(core, str(TESTS / "wsgi" / "storm.py"), "--requests", "30000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"core {core}, seed " in done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("body = [body[0][::-1]]", "WRONG: Wrong: "),
        ("threading.Event().wait(5)", "WRONG: Stuck: no response for 2 s"),
        ("os.dup(0)", "descriptors are open"),
        ("self.leaked = environ['forge.connected']", "objects of Task are left"),
        ("self.opened.update([0])", "streams were opened"),
        ("self.handled.subtract({0: 10_000})", "the application got "),
    ],
)
def test_a_fault_of_the_server_is_found(fault, message):
    program = FAULTY.replace("{fault}", fault).replace(
        "{stuck}", "2.0" if "wait" in fault else "20"
    )
    done = run_storm("", "-c", program, "--requests", "3000")
    assert done.returncode == 1 and message in done.stdout, done.stdout + done.stderr
