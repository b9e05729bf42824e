"""The evidence report of a verified artifact, as HTML and JSON: versions, hashes, licences, tests
that ran, and proofs. What could not be proved on this machine says "not proved".
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from functools import partial
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from xml.etree import ElementTree

from ...data import files
from ...manifest import Manifest
from ..artifact import normalise, replace
from ..failure import failure
from ..info import SKIPPED
from ..vendor import SBOM
from .network_isolation import FAILED, PROVED, UNPROVED, Proof, run_without_network
from .verify import Verified


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
    first = [sys.executable, "-I", "-S", str(found.path), "version"]
    start = run_without_network("a first start (version) needs no network", first)
    return [*claims, _built_again(found, root), start]


def _built_again(found: Verified, root: Path | None) -> Proof:
    claim = "a build gives the same bytes, and needs no network"
    if root is None:
        return Proof(claim, UNPROVED, "verify did not run in the project's folder")
    again = [sys.executable, "-P", "-m", __package__.partition(".")[0], "--project", str(root)]
    kind = "dir" if found.path.is_dir() else "zipapp"
    again += ["build", "--offline", "--verify", "--format", kind]
    again += ["--skip-css"] if found.info.get("css") == SKIPPED else []
    return run_without_network(claim, [*again, "-o", str(found.path)])


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
    """Of every distribution inside: what its metadata says, and its licence files. What has no
    metadata inside, as a forge_min that no installer put there: what the artifact's SBOM says.
    """
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
    billed = _licences_of_sbom(members.get(SBOM, b"{}"))
    for name in (name for name in inputs if normalise(name) not in known):
        bare = {"name": name, "version": inputs[name], "texts": []}
        found.append({**bare, "licence": billed.get(normalise(name)) or UNPROVED})
    return found


def _licences_of_sbom(text: bytes) -> dict[str, str]:
    """By the name of a component: SPDX expressions, or what an author calls his licence."""
    found = {}
    for part in json.loads(text).get("components", ()):
        rows = part.get("licenses", ())
        words = (row.get("expression") or row.get("license", {}).get("name") for row in rows)
        found[normalise(part["name"])] = ", ".join(filter(None, words))
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
    room = __package__.rpartition(".")[0]
    text = files(room).joinpath("templates", "evidence.tmpl").read_text("utf-8")
    return Template(text).substitute(tables, name=escape(report["artifact"]))


def _rows(rows: Iterable[Iterable[object]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return "\n".join(f"<tr>{line}</tr>" for line in cells)
