"""Proofs by running: a command where no network is, and what it tried of one.

A network namespace shows what a command needs; only counting its system calls what it tries.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..artifact import package_root

PROVED, FAILED, UNPROVED = "proved", "failed", "not proved"
_SECONDS = 300  # a proof may take
_COUNT = ("-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o")

# Of strace's lines those with an address; Unix sockets and the kernel's own are no network.
_ATTEMPT = re.compile(
    r" (?:connect|sendto|sendmsg|sendmmsg)\(.*sa_family=(?!AF_(?:UNIX|NETLINK|UNSPEC)\b)"
)


class Proof(NamedTuple):
    """One claim, what became of it here, and how that is known, or why it is not."""

    claim: str
    state: str
    because: str


def run_alone(needs: str, tries: str, command: Sequence[str]) -> list[Proof]:
    """Two proofs of one run, which takes 300 s at most. needs: the claim that holds if it succeeds
    in a network namespace without an uplink (unshare(1)). tries: that it also asks for no
    connection and sends to no address, counted with strace(1), its children too.
    """
    alone = _wrapper("unshare", "--map-root-user", "--net")
    if not alone:
        why = "no network namespace can be made here (unshare)"
        return [Proof(claim, UNPROVED, why) for claim in (needs, tries)]
    with tempfile.TemporaryDirectory(prefix="forge-evidence-") as folder:
        trace = Path(folder, "trace")
        counted = _wrapper("strace", *_COUNT, str(trace), before=alone)
        ran = _run(needs, [*alone, *counted, *command], folder)
        if ran.state != PROVED:
            return [ran, Proof(tries, UNPROVED, "it did not come to its end")]
        if not counted:
            return [
                ran,
                Proof(tries, UNPROVED, "strace, which counts, is missing or may not"),
            ]
        return [ran, _counted(tries, trace.read_text("utf-8", "replace"))]


def attempts(trace: str) -> list[str]:
    """The lines of strace that ask for a connection to a network, or send to an address of one."""
    return [line for line in trace.splitlines() if _ATTEMPT.search(line)]


def _counted(claim: str, trace: str) -> Proof:
    found = attempts(trace)
    if found:
        return Proof(
            claim, FAILED, f"{len(found)} times, first: {' '.join(found[0].split())}"[:500]
        )
    return Proof(claim, PROVED, "strace counted no connect, and nothing sent to an address")


def _wrapper(name: str, *options: str, before: Sequence[str] = ()) -> list[str]:
    """What a command is run with, where that works here; else []."""
    program = shutil.which(name)
    command = [program, *options] if program else []
    probe = [*before, *command, sys.executable, "-I", "-S", "-c", ""]
    if command and subprocess.run(probe, capture_output=True, check=False).returncode:
        return []
    return command


def _run(claim: str, command: Sequence[str], cache: str) -> Proof:
    environ = {**os.environ, "XDG_CACHE_HOME": cache}
    environ["PYTHONPATH"] = os.pathsep.join([str(package_root().parent), *sys.path])
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            said = child.communicate(timeout=_SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # strace alone would leave its children running
            return Proof(claim, UNPROVED, f"it took more than {_SECONDS} s")
    if child.returncode:
        return Proof(claim, FAILED, " ".join(said.split())[:500])
    return Proof(claim, PROVED, "it ran in a network namespace that has no uplink")
