"""assets.scripts: a file out of a wheel, by its hash, in static/."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship.project import read_project
from forge_min.ship.vendor.folder import check_scripts, fetch_scripts
from forge_min.ship.vendor.sbom import sbom_of_wheels

from building import build
from wheels import DIGEST, SCRIPT, install_star, pin


@pytest.fixture
def starred(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, which pins a file of a wheel that is installed."""
    install_star(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return pin(project)


def test_the_file_is_written_into_static_and_a_build_compares(starred: Path) -> None:
    project = read_project(starred)
    with pytest.raises(BuildError, match="static/js/star.js is not the file") as caught:
        check_scripts(project)
    assert caught.value.code == "F372" and "missing" in caught.value.message
    ((name, dist),) = fetch_scripts(project, offline=True)
    assert (name, dist.version) == ("js/star.js", "0.7")
    assert (starred / "static/js/star.js").read_bytes() == SCRIPT
    check_scripts(project)


def test_a_build_stops_at_an_edited_script(starred: Path) -> None:
    list(fetch_scripts(read_project(starred), offline=True))
    (starred / "static/js/star.js").write_bytes(SCRIPT + b"evil();\n")
    with pytest.raises(BuildError, match="static/js/star.js is not the file"):
        build(starred, skip_css=True)
    assert not (starred / "dist").exists()


def test_a_script_is_in_the_bill_with_where_it_came_from(starred: Path) -> None:
    project = read_project(starred)
    text = sbom_of_wheels(project, [], dict(fetch_scripts(project, offline=True))).decode()
    assert "pkg:pypi/star@0.7#star/x.js" in text and DIGEST in text and '"MIT"' in text


@pytest.mark.parametrize(
    ("wheel", "member", "digest", "code", "said"),
    [
        ("star==0.7", "star/x.js", "0" * 64, "F372", "star/x.js in star==0.7 is not the file"),
        ("star==0.7", "star/y.js", DIGEST, "F372", "star==0.7 has no star/y.js"),
        ("star==0.8", "star/x.js", DIGEST, "F341", "star==0.8 is installed as 0.7"),
        ("moon==0.7", "star/x.js", DIGEST, "F341", "moon==0.7 is not installed"),
    ],
)
def test_anything_but_the_pinned_file_is_refused_and_nothing_written(
    starred: Path, wheel: str, member: str, digest: str, code: str, said: str
) -> None:
    pin(starred, wheel, member, digest)
    with pytest.raises(BuildError, match=said) as caught:
        list(fetch_scripts(read_project(starred), offline=True))
    assert caught.value.code == code
    assert not (starred / "static/js").exists()


@pytest.mark.long
def test_the_file_comes_from_the_index_too(project: Path) -> None:
    digest = "0" * 64
    pin(project, "starhtml==0.7.0", "starhtml/static/js/datastar.js", digest)
    with pytest.raises(BuildError, match="is not the file that assets.scripts pins") as caught:
        list(fetch_scripts(read_project(project), offline=False))
    found = caught.value.message.rpartition(" ")[2]
    pin(project, "starhtml==0.7.0", "starhtml/static/js/datastar.js", found)
    ((name, _),) = fetch_scripts(read_project(project), offline=False)
    assert sha256((project / "static" / name).read_bytes()).hexdigest() == found
