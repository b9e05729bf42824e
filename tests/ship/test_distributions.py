"""What an artifact takes from the environment, from RECORD and metadata alone."""

from __future__ import annotations

import base64
import sys
from hashlib import sha256
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship.artifact.distributions import BASE, collect, members


def install(folder: Path, files: dict[str, bytes], requires: str = "") -> Distribution:
    """A distribution `made` as an installer would leave it."""
    info = "made-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: made\nVersion: 1.0\n{requires}".encode()
    rows = []
    for name, data in {**files, f"{info}/METADATA": metadata, f"{info}/INSTALLER": b"x"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        digest = base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}")
    rows += ["../../bin/made,,", f"{info}/RECORD,,"]
    (folder / info / "RECORD").write_text("\n".join(rows))
    return PathDistribution(folder / info)


def test_what_is_required_comes_along_once_and_in_order() -> None:
    names = [dist.name for dist in collect(BASE)]
    assert {"psycopg", "opentelemetry-sdk", "opentelemetry-semantic-conventions"} <= set(names)
    assert names == sorted(set(names))


def test_files_come_from_record_without_what_an_installer_left(tmp_path: Path) -> None:
    dist = install(tmp_path, {"made/__init__.py": b"", "made/x.pyi": b"", "made/c.pyc": b""})
    assert set(members(dist)) == {"made/__init__.py", "made-1.0.dist-info/METADATA"}


def test_a_distribution_with_a_compiled_part_lies_apart_as_a_whole(tmp_path: Path) -> None:
    dist = install(tmp_path, {"made/__init__.py": b"", "made/core.abi3.so": b"\x7fELF"})
    assert all(name.startswith("_native/") for name in members(dist))


def test_the_last_of_two_rows_of_a_file_counts(tmp_path: Path) -> None:
    dist = install(tmp_path, {"made/__init__.py": b"x = 1"})
    record = tmp_path / "made-1.0.dist-info" / "RECORD"
    record.write_text("made/__init__.py,sha256=of-another-text,5\n" + record.read_text())
    assert members(dist)["made/__init__.py"] == b"x = 1"


def test_an_altered_file_stops_the_build_and_is_named(tmp_path: Path) -> None:
    dist = install(tmp_path, {"made/__init__.py": b"x = 1"})
    (tmp_path / "made/__init__.py").write_bytes(b"x = 2")
    with pytest.raises(BuildError, match="made/__init__.py of the distribution made") as caught:
        members(dist)
    assert caught.value.code == "F342"


def test_a_removed_file_stops_the_build_and_is_named(tmp_path: Path) -> None:
    dist = install(tmp_path, {"made/__init__.py": b"x = 1"})
    (tmp_path / "made/__init__.py").unlink()
    with pytest.raises(BuildError, match="made/__init__.py") as caught:
        members(dist)
    assert caught.value.code == "F341"


def test_a_distribution_without_record_is_an_error(tmp_path: Path) -> None:
    dist = install(tmp_path, {})
    (tmp_path / "made-1.0.dist-info/RECORD").unlink()
    with pytest.raises(BuildError) as caught:
        members(dist)
    assert caught.value.code == "F341"


def test_a_missing_requirement_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, {}, "Requires-Dist: not-there-at-all\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(BuildError, match="not-there-at-all is not installed") as caught:
        collect(["made"])
    assert caught.value.code == "F341"
    assert "pip install" in (caught.value.hint or "")


def test_without_psycopg_binary_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(BuildError) as caught:
        collect(["psycopg-binary"])
    assert "forge-min[binary]" in (caught.value.hint or "")
