"""The evidence report of a verified artifact, as HTML and JSON: versions, hashes, licences, tests
that ran, and proofs. What could not be proved on this machine says "not proved".
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from functools import partial
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ...data import files
from ...manifest import Manifest
from ..artifact import normalise, package_root, replace
from ..failure import failure
from ..info import SKIPPED
from .verify import Verified

PROVED, FAILED, UNPROVED = "proved", "failed", "not proved"
_SECONDS = 300  # a proof may take


class Proof(NamedTuple):
    """One claim, what became of it here, and how that is known, or why it is not."""

    claim: str
    state: str
    because: str


def write_evidence(
    found: Verified, folder: Path, *, root: Path | None, tests: Path | None
) -> tuple[Path, Path]:
    """Writes evidence.html and evidence.json; their paths. root: the project, to build it again
    without a network. tests: a JUnit report. Raises BuildError F345 for what cannot be written,
    F380 for a report that cannot be read.
    """
    report = {
        "artifact": found.path.name,
        "sha256": found.digest,
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "build": {key: value for key, value in found.info.items() if key != "native_files"},
        "proofs": [proof._asdict() for proof in _proofs(found, root, tests)],
        "licences": _licences(found.members, found.info["inputs"]),
        "hashes": dict(Manifest.of(found.members).hashes),
    }
    page, data = folder / "evidence.html", folder / "evidence.json"
    text = json.dumps(report, indent=1) + "\n"
    replace(page, partial(Path.write_text, data=_page(report), encoding="utf-8"))
    replace(data, partial(Path.write_text, data=text, encoding="utf-8"))
    return page, data


def _proofs(found: Verified, root: Path | None, tests: Path | None) -> list[Proof]:
    claims = [
        Proof("every file is as it was built", PROVED, "manifest, build info and hashes agree"),
        _if(found.signature, "the signature holds", "by the key that was given", "no --key"),
        _if(found.sbom, "the SBOM lists every input", "CycloneDX 1.6", "there is no SBOM"),
        _tests(tests),
    ]
    isolated = _isolation()
    first = [sys.executable, "-I", "-S", str(found.path), "version"]
    again = [sys.executable, "-P", "-m", __package__.partition(".")[0], "--project", str(root)]
    kind = "dir" if found.path.is_dir() else "zipapp"
    again += ["build", "--offline", "--verify", "--format", kind]
    again += ["--skip-css"] if found.info.get("css") == SKIPPED else []
    claim = "a build without a network gives the same bytes, and tries no connection"
    if root is None:
        claims.append(Proof(claim, UNPROVED, "verify did not run in the project's folder"))
    else:
        claims.append(_run(claim, isolated, [*again, "-o", str(found.path)]))
    return [*claims, _run("a first start (version) needs no network", isolated, first)]


def _if(holds: bool, claim: str, because: str, why_not: str) -> Proof:
    return Proof(claim, PROVED if holds else UNPROVED, because if holds else why_not)


def _isolation() -> list[str]:
    """What runs a command in a network namespace without an uplink (unshare(1)); [] if nothing."""
    program = shutil.which("unshare")
    command = [program, "--map-root-user", "--net"] if program else []
    if command and subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        return []
    return command


def _run(claim: str, isolated: list[str], command: list[str]) -> Proof:
    if not isolated:
        return Proof(claim, UNPROVED, "no network namespace can be made here (unshare)")
    with tempfile.TemporaryDirectory(prefix="forge-evidence-") as cache:
        environ = {**os.environ, "XDG_CACHE_HOME": cache}
        environ["PYTHONPATH"] = os.pathsep.join([str(package_root().parent), *sys.path])
        try:
            done = subprocess.run(
                [*isolated, *command],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Proof(claim, UNPROVED, f"it took more than {_SECONDS} s")
    if done.returncode:
        return Proof(claim, FAILED, " ".join(done.stderr.split())[:500])
    return Proof(claim, PROVED, "it ran in a network namespace that has no uplink")


def _tests(report: Path | None) -> Proof:
    claim = "the tests passed"
    if report is None:
        return Proof(claim, UNPROVED, "no --tests: pytest --junitxml=FILE writes such a report")
    try:
        data = report.read_bytes()
        count = _counts(ElementTree.fromstring(data))
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as err:
        raise failure("no_report", path=report, why=err) from err
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
    """Of every distribution inside: what its metadata says, and its licence files."""
    found = []
    for name in sorted(members):
        folder, _, file = name.rpartition("/")
        if file == "METADATA" and folder.endswith(".dist-info"):
            told = HeaderParser().parsestr(members[name].decode("utf-8", "replace"))
            classes = (c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or ()
                       if c.startswith("License ::"))  # fmt: skip
            licence = told["License-Expression"] or ", ".join(classes) or told["License"]
            inside = [n for n in sorted(members) if n.startswith(f"{folder}/licen")]
            row = {"name": told["Name"], "version": told["Version"], "texts": inside}
            found.append({**row, "licence": licence or UNPROVED})
    known = {normalise(str(row["name"])) for row in found}
    bare = [name for name in inputs if normalise(name) not in known]  # no metadata is inside
    rows = ({"name": n, "version": inputs[n], "texts": [], "licence": UNPROVED} for n in bare)
    return [*found, *rows]


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
    room = __package__.rpartition(".")[0]
    text = files(room).joinpath("templates", "evidence.tmpl").read_text("utf-8")
    return Template(text).substitute(tables, name=escape(report["artifact"]))


def _rows(rows: Iterable[Iterable[object]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return "\n".join(f"<tr>{line}</tr>" for line in cells)
