"""The evidence report of a verified artifact: versions, hashes, licences, tests and proofs.

It is written as HTML and JSON. What could not be proved on this machine says "not proved"; proofs
by running use a network namespace without an uplink (unshare(1)).
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
from .errors import build_error
from .pipeline import SKIPPED
from .vendor.sbom import NAME as SBOM
from .verify import VerifyResult

PROVED, FAILED, UNPROVED = "proved", "failed", "not proved"
_TIMEOUT = 300  # seconds that a proof may take
_LICENCE_FILE = re.compile(r"(?:_native/)?([^/-]+)-[^/]+\.dist-info/licen")


class Proof(NamedTuple):
    """One claim, its state on this machine, and the reason for that state."""

    claim: str
    state: str
    because: str


def write_evidence(
    verified: VerifyResult, folder: Path, *, root: Path | None, tests: Path | None
) -> tuple[Path, Path]:
    """Writes evidence.html and evidence.json, and returns their paths.

    root: the project, to build it again without a network. tests: a JUnit report.

    Raises BuildError F345 for what cannot be written, F380 for a report that cannot be read.
    """
    report = {
        "artifact": verified.path.name,
        "sha256": verified.digest,
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "build": verified.info,
        "proofs": [proof._asdict() for proof in _proofs(verified, root, tests)],
        "licences": _licences(verified.members, verified.info["inputs"]),
        "hashes": dict(Manifest.of(verified.members).hashes),
    }
    page, data = folder / "evidence.html", folder / "evidence.json"
    text = json.dumps(report, indent=1) + "\n"
    replace_file(page, _page(report).encode())
    replace_file(data, text.encode())
    return page, data


def _proofs(found: VerifyResult, root: Path | None, tests: Path | None) -> list[Proof]:
    claims = [
        Proof("every file is as it was built", PROVED, "manifest, build info and hashes agree"),
        _if(found.signature, "the signature holds", "by the key that was given", "no --key"),
        _if(found.sbom, "the SBOM lists every input", "CycloneDX 1.6", "there is no SBOM"),
        _tests(tests),
    ]
    first = [sys.executable, "-I", "-S", str(found.path), "version"]
    start = _run_without_network("a first start (version) needs no network", first)
    return [*claims, _built_again(found, root), start]


def _built_again(found: VerifyResult, root: Path | None) -> Proof:
    claim = "a build gives the same bytes, and needs no network"
    if root is None:
        return Proof(claim, UNPROVED, "verify did not run in the project's folder")
    again = [sys.executable, "-P", "-m", __package__.partition(".")[0], "--project", str(root)]
    kind = "dir" if found.path.is_dir() else "zipapp"
    again += ["build", "--offline", "--verify", "--format", kind]
    again += ["--skip-css"] if found.info.get("css") == SKIPPED else []
    return _run_without_network(claim, [*again, "-o", str(found.path)])


def _if(holds: bool, claim: str, because: str, why_not: str) -> Proof:
    return Proof(claim, PROVED if holds else UNPROVED, because if holds else why_not)


def _tests(report: Path | None) -> Proof:
    claim = "the tests passed"
    if report is None:
        return Proof(claim, UNPROVED, "no --tests: pytest --junitxml=FILE writes such a report")
    try:
        data = report.read_bytes()
        count = _counts(ElementTree.fromstring(data))
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as err:
        raise build_error("no_report", path=report, why=err) from err
    told = ", ".join(f"{number} {word}" for word, number in count.items())
    well = count["tests"] > count["skipped"] and not count["failures"] + count["errors"]
    because = f"{told}; the report's sha256 is {sha256(data).hexdigest()}"
    return Proof(claim, PROVED if well else FAILED, because)


def _counts(root: ElementTree.Element) -> dict[str, int]:
    """Of the suites that lie in no other: what these hold is in their counts.

    Raises ValueError for a report that is not JUnit's.
    """
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if root.tag not in ("testsuite", "testsuites"):
        raise ValueError(f"<{root.tag}> is no <testsuites> of JUnit")
    words = ("tests", "failures", "errors", "skipped")
    count = {word: [int(suite.get(word, 0)) for suite in suites] for word in words}
    if any(number < 0 for numbers in count.values() for number in numbers):
        raise ValueError("it counts fewer than no tests")
    return {word: sum(numbers) for word, numbers in count.items()}


def _licences(members: Mapping[str, bytes], inputs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each input with the licence that the artifact's SBOM names, and its licence files."""
    parts = json.loads(members.get(SBOM, b"{}")).get("components", ())
    licences = {normalise(part["name"]): part.get("licenses", ()) for part in parts}
    texts = [match for name in sorted(members) if (match := _LICENCE_FILE.match(name))]
    found = []
    for name, version in inputs.items():
        rows = licences.get(normalise(name), ())
        words = (row.get("expression") or row.get("license", {}).get("name") for row in rows)
        own = [match.string for match in texts if normalise(match[1]) == normalise(name)]
        licence = ", ".join(filter(None, words)) or UNPROVED
        found.append({"name": name, "version": version, "texts": own, "licence": licence})
    return found


def _page(report: Mapping[str, Any]) -> str:
    facts = {key: report[key] for key in ("artifact", "sha256", "machine")} | report["build"]
    inputs = facts.pop("inputs")
    licences = [(d["name"], d["version"], d["licence"], *d["texts"]) for d in report["licences"]]
    tables = {
        "facts": _rows(facts.items()),
        "inputs": _rows(inputs.items()),
        "proofs": _rows((p["claim"], p["state"], p["because"]) for p in report["proofs"]),
        "licences": _rows(licences),
        "hashes": _rows(report["hashes"].items()),
    }
    text = files(__package__).joinpath("templates", "evidence.tmpl").read_text("utf-8")
    return Template(text).substitute(tables, name=escape(report["artifact"]))


def _rows(rows: Iterable[Iterable[object]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return "\n".join(f"<tr>{line}</tr>" for line in cells)


def _run_without_network(claim: str, command: Sequence[str]) -> Proof:
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
