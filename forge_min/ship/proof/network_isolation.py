"""Proofs by running: a command in a network namespace without an uplink (unshare(1))."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from ..artifact import package_root

PROVED, FAILED, UNPROVED = "proved", "failed", "not proved"
_TIMEOUT = 300  # seconds that a proof may take


class Proof(NamedTuple):
    """One claim, its state on this machine, and the reason for that state."""

    claim: str
    state: str
    because: str


def run_without_network(claim: str, command: Sequence[str]) -> Proof:
    """Run a command for at most 300 s. The claim holds if it succeeds."""
    isolated = [shutil.which("unshare") or "", "--map-root-user", "--net"]
    probe = [*isolated, sys.executable, "-I", "-S", "-c", ""]
    if not isolated[0] or subprocess.run(probe, capture_output=True, check=False).returncode:
        return Proof(claim, UNPROVED, "no network namespace can be made here (unshare)")
    with tempfile.TemporaryDirectory(prefix="forge-evidence-") as cache:
        environ = {**os.environ, "XDG_CACHE_HOME": cache}
        environ["PYTHONPATH"] = os.pathsep.join([str(package_root().parent), *sys.path])
        with subprocess.Popen(
            [*isolated, *command],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as child:
            try:
                errors = child.communicate(timeout=_TIMEOUT)[1]
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # its children too
                return Proof(claim, UNPROVED, f"it took more than {_TIMEOUT} s")
    if child.returncode:
        return Proof(claim, FAILED, " ".join(errors.split())[:500])
    return Proof(claim, PROVED, "it ran in a network namespace that has no uplink")
