"""The evidence report of a verified artifact: versions, hashes, licences, tests and proofs.

It is written as HTML and JSON. A claim that cannot be proved on this machine is "not proved".
Proofs that run a command use a network namespace without an uplink (unshare(1)).
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ..manifest import Manifest
from ..resources import files
from .artifact.archive import replace_file
from .artifact.distributions import normalise
from .artifact.package import package_root
from .errors import build_error, one_line
from .pipeline import SKIPPED
from .progress import run_program
from .vendor.sbom import NAME as SBOM
from .verify import VerifyResult

PROVED = "proved"
FAILED = "failed"
UNPROVED = "not proved"
_TIMEOUT = 300  # seconds that a proof may take
_LICENCE_FILE = re.compile(r"(?:_native/)?([^/-]+)-[^/]+\.dist-info/licen")


class Proof(NamedTuple):
    """One claim, its state on this machine, and the reason for that state."""

    claim: str
    state: str
    because: str


def write_evidence(
    verified: VerifyResult, folder: Path, *, root: Path | None, tests: Path | None
) -> tuple[tuple[Path, Path], list[Proof]]:
    """Write evidence.html and evidence.json. Returns their paths, and the proofs that failed.

    root: the project, which is built again without a network; None if it is not available.
    tests: a JUnit report, or None.
    Raises BuildError F002 if a file cannot be written, F380 if the report cannot be read.
    """
    proofs = _proofs(verified, root, tests)
    report = {
        "artifact": verified.path.name,
        "sha256": verified.digest,
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "build": verified.info,
        "proofs": [proof._asdict() for proof in proofs],
        "licences": _licences(verified.members, verified.info["inputs"]),
        "hashes": dict(Manifest.of(verified.members).hashes),
    }
    page = folder / "evidence.html"
    replace_file(page, _page(report).encode())
    data = folder / "evidence.json"
    replace_file(data, f"{json.dumps(report, indent=1)}\n".encode())
    failed = [proof for proof in proofs if proof.state == FAILED]
    return (page, data), failed


def _proofs(verified: VerifyResult, root: Path | None, tests: Path | None) -> list[Proof]:
    start = [sys.executable, "-I", "-S", str(verified.path), "version"]
    return [
        Proof("every file is as it was built", PROVED, "manifest, build info and hashes agree"),
        _check(verified.signature, "the signature is valid", "checked with --key", "no --key"),
        _check(verified.sbom, "the SBOM lists every input", "CycloneDX 1.6", "there is no SBOM"),
        _tests(tests),
        _second_build(verified, root),
        _run_without_network("a first start (version) needs no network", start),
    ]


def _check(is_proved: bool, claim: str, because: str, why_not: str) -> Proof:
    if is_proved:
        return Proof(claim, PROVED, because)
    return Proof(claim, UNPROVED, why_not)


def _second_build(verified: VerifyResult, root: Path | None) -> Proof:
    claim = "a build gives the same bytes, and needs no network"
    if root is None:
        return Proof(claim, UNPROVED, "verify did not run in the project's folder")
    command = [sys.executable, "-P", "-m", "forge_min", "--project", str(root)]
    kind = "dir" if verified.path.is_dir() else "zipapp"
    command += ["build", "--offline", "--verify", "--format", kind]
    if verified.info.get("css") == SKIPPED:
        command.append("--skip-css")
    command += ["-o", str(verified.path)]
    return _run_without_network(claim, command)


def _tests(report: Path | None) -> Proof:
    claim = "the tests passed"
    if report is None:
        return Proof(claim, UNPROVED, "no --tests: pytest --junitxml=FILE writes such a report")
    try:
        data = report.read_bytes()
        count = _counts(ElementTree.fromstring(data))
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as err:
        raise build_error("no_report", path=report, why=err) from err
    counts = ", ".join(f"{number} {word}" for word, number in count.items())
    because = f"{counts}; the report's sha256 is {sha256(data).hexdigest()}"
    if count["failures"] or count["errors"] or count["tests"] <= count["skipped"]:
        return Proof(claim, FAILED, because)
    return Proof(claim, PROVED, because)


def _counts(root: ElementTree.Element) -> dict[str, int]:
    """Return the counts of the outermost suites, which include those of inner suites.

    Raises ValueError if it is not a JUnit report.
    """
    if root.tag == "testsuite":
        suites = [root]
    elif root.tag == "testsuites":
        suites = root.findall("testsuite")
    else:
        raise ValueError(f"<{root.tag}> is not <testsuites> of JUnit")
    counts = {}
    for word in ("tests", "failures", "errors", "skipped"):
        numbers = [int(suite.get(word, 0)) for suite in suites]
        if any(number < 0 for number in numbers):
            raise ValueError("a count is negative")
        counts[word] = sum(numbers)
    return counts


def _licences(members: Mapping[str, bytes], inputs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row for each input: its licence in the artifact's SBOM, and its licence files."""
    bill = json.loads(members.get(SBOM, b"{}"))
    licences = {}
    for part in bill.get("components", ()):
        licences[normalise(part["name"])] = part.get("licenses", ())
    texts: dict[str, list[str]] = {}
    for member in sorted(members):
        match = _LICENCE_FILE.match(member)
        if match:
            texts.setdefault(normalise(match[1]), []).append(member)
    result = []
    for name, version in inputs.items():
        key = normalise(name)
        words = []
        for row in licences.get(key, ()):
            word = row.get("expression") or row.get("license", {}).get("name")
            if word:
                words.append(word)
        licence = ", ".join(words) or UNPROVED
        paths = texts.get(key, [])
        result.append({"name": name, "version": version, "texts": paths, "licence": licence})
    return result


def _page(report: Mapping[str, Any]) -> str:
    facts = {key: report[key] for key in ("artifact", "sha256", "machine")}
    facts |= report["build"]
    inputs = facts.pop("inputs")
    licences = [
        (row["name"], row["version"], row["licence"], *row["texts"]) for row in report["licences"]
    ]
    tables = {
        "facts": _rows(facts.items()),
        "inputs": _rows(inputs.items()),
        "proofs": _rows(proof.values() for proof in report["proofs"]),
        "licences": _rows(licences),
        "hashes": _rows(report["hashes"].items()),
    }
    text = files(__package__).joinpath("templates", "evidence.tmpl").read_text("utf-8")
    return Template(text).substitute(tables, name=escape(report["artifact"]))


def _rows(rows: Iterable[Iterable[object]]) -> str:
    lines = []
    for row in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join(lines)


def _run_without_network(claim: str, command: Sequence[str]) -> Proof:
    """Run a command for at most 300 s; the claim is proved if it succeeds."""
    program = shutil.which("unshare") or ""
    isolated = [program, "--map-root-user", "--net"]
    probe = [*isolated, sys.executable, "-I", "-S", "-c", ""]
    if not program or run_program(probe).returncode:
        return Proof(claim, UNPROVED, "unshare cannot make a network namespace here")
    environ = dict(os.environ)
    environ["PYTHONPATH"] = os.pathsep.join([str(package_root().parent), *sys.path])
    with tempfile.TemporaryDirectory(prefix="forge-evidence-") as cache:
        environ["XDG_CACHE_HOME"] = cache
        with subprocess.Popen(
            [*isolated, *command],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as child:
            try:
                errors = child.communicate(timeout=_TIMEOUT)[1]
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # its children too
                return Proof(claim, UNPROVED, f"it took more than {_TIMEOUT} s")
    if child.returncode:
        return Proof(claim, FAILED, one_line(errors))
    return Proof(claim, PROVED, "it ran in a network namespace that has no uplink")
