"""The evidence report: what is proved, what failed, and what says "not proved"."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from forge_min.errors import BuildError
from forge_min.ship import BuildResult, verify, write_evidence
from forge_min.ship.vendor.sbom import NAME as SBOM

from building import build
from ship.test_verify import small

JUNIT = (
    '<testsuites><testsuite name="pytest" errors="{e}" failures="{f}" skipped="{s}" tests="{t}"/>'
    '<testsuite name="more" errors="0" failures="0" skipped="0" tests="2"/></testsuites>'
)
BUILD, START = "a build gives the same bytes, and needs no network", "a first start (version) needs"


def report(path: Path, folder: Path, **how: Path | None) -> dict[str, Any]:
    """evidence.json of the artifact."""
    given = {"root": None, "tests": None, **how}
    (page, data), _ = write_evidence(verify(path), folder, **given)
    assert (page.name, data.name) == ("evidence.html", "evidence.json")
    found: dict[str, Any] = json.loads(data.read_text())
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    """Each claim's state."""
    return {proof["claim"]: proof["state"] for proof in found["proofs"]}


def state(found: dict[str, Any], claim: str) -> str:
    """The state of the claim that begins so."""
    return next(state for name, state in states(found).items() if name.startswith(claim))


def test_what_nobody_gave_is_not_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no unshare
    found = report(small(tmp_path / "x.pyz"), tmp_path / "out")
    assert set(states(found).values()) == {"proved", "not proved"}
    proved = [claim for claim, state in states(found).items() if state == "proved"]
    assert proved == ["every file is as it was built"]
    assert all(proof["because"] for proof in found["proofs"])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"t": 9, "f": 0, "e": 0, "s": 1}, "proved"),
        ({"t": 9, "f": 1, "e": 0, "s": 0}, "failed"),
        ({"t": 9, "f": 0, "e": 1, "s": 0}, "failed"),
        ({"t": 0, "f": 0, "e": 0, "s": 2}, "failed"),  # nothing ran
    ],
)
def test_tests_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], expected: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "junit.xml").write_text(JUNIT.format(**counts))
    found = report(small(tmp_path / "x.pyz"), tmp_path, tests=tmp_path / "junit.xml")
    assert state(found, "the tests passed") == expected
    because = next(p["because"] for p in found["proofs"] if p["claim"] == "the tests passed")
    assert f"{counts['t'] + 2} tests" in because


@pytest.mark.parametrize("form", ["<testsuites>{}</testsuites>", "{}"])
def test_a_suite_within_a_suite_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    suite = '<testsuite tests="3" skipped="1">{}</testsuite>'
    (tmp_path / "junit.xml").write_text(form.format(suite.format(suite.format(""))))
    found = report(small(tmp_path / "x.pyz"), tmp_path, tests=tmp_path / "junit.xml")
    assert state(found, "the tests passed") == "proved"
    (proof,) = [p for p in found["proofs"] if p["claim"] == "the tests passed"]
    assert proof["because"].startswith("3 tests, 0 failures, 0 errors, 1 skipped;")


@pytest.mark.parametrize(
    "text",
    ['<testsuite tests="abc"/>', '<testsuite tests="3" failures="-1"/>', "<html/>"]
    + ['<?xml version="1.0" encoding="nothing"?><testsuite tests="1"/>'],
)
def test_a_report_that_no_runner_of_tests_wrote_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "junit.xml").write_text(text)
    with pytest.raises(BuildError, match=r"junit\.xml cannot be read") as caught:
        report(small(tmp_path / "x.pyz"), tmp_path, tests=tmp_path / "junit.xml")
    assert caught.value.code == "F380"


def test_a_report_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = small(tmp_path / "x.pyz")
    (tmp_path / "junit.xml").write_text("<tests")
    for name in ("junit.xml", "nowhere.xml"):
        with pytest.raises(BuildError) as caught:
            report(path, tmp_path, tests=tmp_path / name)
        assert caught.value.code == "F380"
    assert not (tmp_path / "evidence.html").exists()


class Cells(HTMLParser):
    """The texts of a page, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_says_the_same_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    licence = {"license": {"name": "<b>mine</b>"}}
    part = {"name": "made", "version": "1", "licenses": [licence]}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [part]}
    path = small(tmp_path / "x.pyz", **{SBOM: json.dumps(bill).encode()})
    found = report(path, tmp_path)
    cells = Cells()
    cells.feed((tmp_path / "evidence.html").read_text())
    assert {*states(found), found["sha256"], *found["hashes"].values()} <= set(cells.texts)
    assert "<b>mine</b>" in cells.texts and not {"b", "script"} & cells.tags
    assert found["licences"][0]["licence"] == "<b>mine</b>"


@pytest.fixture
def namespaces() -> None:
    """Skips where this machine makes none."""
    if subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        pytest.skip("NOT PROVED: this machine makes no network namespaces (unshare -rn)")


@pytest.mark.usefixtures("namespaces")
def test_an_artifact_that_does_not_start_is_not_said_to(tmp_path: Path) -> None:
    found = report(small(tmp_path / "x.pyz"), tmp_path)
    assert state(found, START) == "failed"


def test_the_licences_are_those_of_the_sbom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = {"name": "forge-min", "version": "1", "licenses": [{"expression": "MIT"}]}
    other = {"name": "Other_One", "version": "1", "licenses": [{"license": {"name": "own"}}]}
    parts = [own, other, {"name": "bare", "version": "1"}, {"name": "made", "version": "1"}]
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": parts}
    inputs = {"forge-min": "1", "other.one": "1", "bare": "1", "made": "1"}
    path = small(tmp_path / "x.pyz", inputs=inputs, **{SBOM: json.dumps(bill).encode()})
    licences = {row["name"]: row["licence"] for row in report(path, tmp_path)["licences"]}
    wanted = {"forge-min": "MIT", "other.one": "own", "bare": "not proved", "made": "not proved"}
    assert licences == wanted


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.usefixtures("namespaces")
def test_the_example_is_proved_to_need_no_network(
    built: BuildResult, project: Path, tmp_path: Path
) -> None:
    for name in ("dist", "gen"):
        shutil.copytree(built.path.parents[1] / name, project / name)
    path = project / "dist" / "departures.pyz"
    found = report(path, tmp_path / "out", root=project)
    assert (state(found, BUILD), state(found, START)) == ("proved", "proved")
    licences = {row["name"]: row for row in found["licences"]}
    assert set(licences) == set(found["build"]["inputs"])
    assert licences["forge-min"]["licence"] == "MIT"
    assert licences["psycopg"]["licence"] == "LGPL-3.0-only" and licences["psycopg"]["texts"]
    (project / "app.py").write_text((project / "app.py").read_text() + "\n")
    again = report(path, tmp_path / "out", root=project)
    assert state(again, BUILD) == "failed"
    assert "app.py" in next(p["because"] for p in again["proofs"] if p["state"] == "failed")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_the_second_build_skips_what_the_first_did(project: Path, tmp_path: Path) -> None:
    (project / "static" / "css" / "far.css").write_text('@import "https://example.org/x.css";')
    path = build(project, skip_css=True).path
    assert state(report(path, tmp_path / "out", root=project), BUILD) == "proved"
