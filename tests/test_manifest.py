"""The manifest: what it lists, and that nothing is added, altered or taken without its notice."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import INFO, NAME, Manifest, read_members, read_readable
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = {"app.py": b"x = 1\n", "static/a b.css": b"", "gen/__init__.py": b'""'}
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)


def test_what_is_written_is_read_back() -> None:
    manifest = Manifest.of(MEMBERS)
    assert Manifest.read(manifest.write()) == manifest


@given(st.dictionaries(NAMES, st.binary(max_size=5)))
def test_any_names_survive_and_verify(members: dict[str, bytes]) -> None:
    assert Manifest.read(Manifest.of(members).write()).differences(members) == {}


def test_the_order_of_members_changes_nothing() -> None:
    turned = dict(reversed(MEMBERS.items()))
    assert Manifest.of(turned).digest == Manifest.of(MEMBERS).digest


@pytest.mark.parametrize(
    ("members", "differing"),
    [
        ({**MEMBERS, "app.py": b"x = 2\n"}, {"app.py": "altered"}),
        ({**MEMBERS, "evil.py": b""}, {"evil.py": "added"}),
        ({n: d for n, d in MEMBERS.items() if n != "app.py"}, {"app.py": "missing"}),
    ],
)
def test_a_difference_is_named(members: dict[str, bytes], differing: dict[str, str]) -> None:
    assert Manifest.of(MEMBERS).differences(members) == differing


def test_the_manifest_and_the_build_info_are_not_listed() -> None:
    assert not Manifest.of({NAME: b"1", INFO: b"2"}).hashes


@pytest.mark.parametrize(
    "text",
    ["short  a\n", "z" * 64 + "  a\n", "0" * 64 + "  \n", "0" * 64 + " a\n", "0" * 64 + "  a\n" * 2]
    + [("0" * 64 + "  a\n") * 2],
)
def test_a_line_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(BuildError) as caught:
        Manifest.read(text)
    assert caught.value.code == "F380"


@pytest.mark.parametrize("end", ["\r", "\x0b", "\u2028"])
def test_only_a_line_feed_ends_a_line(end: str) -> None:
    text = Manifest.of(MEMBERS).write()
    other = Manifest.read(text.replace("\n", end, 1))
    assert other.differences(MEMBERS)
    assert (
        Manifest.read(Manifest.of({f"a{end}b": b""}).write()).differences({f"a{end}b": b""}) == {}
    )


def test_sha256sum_reads_it(tmp_path: Path) -> None:
    for name, data in MEMBERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / NAME).write_text(Manifest.of(MEMBERS).write())
    subprocess.run(["sha256sum", "--quiet", "-c", NAME], cwd=tmp_path, check=True)
    assert Manifest.of(MEMBERS).differences(read_members(tmp_path)) == {}


def test_what_is_no_file_in_a_folder_has_the_bytes_of_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "folder").symlink_to("deep")
    os.mkfifo(tmp_path / "pipe")
    for members in (read_members(tmp_path), read_readable(tmp_path)[0]):
        assert sorted(members) == ["file", "folder", "link", "pipe"]
        assert [name for name, data in members.items() if not data] == ["file"]
        same = Manifest.of(dict.fromkeys(members, b""))
        assert same.differences(members) == dict.fromkeys(["folder", "link", "pipe"], "altered")


def test_members_of_a_zip_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pyz", "w") as archive:
        archive.mkdir("static")
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    assert read_members(tmp_path / "a.pyz") == MEMBERS


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pyz").write_bytes(b"PK\3\4 but not really")
    for name in ("a.pyz", "missing.pyz"):
        with pytest.raises(BuildError) as caught:
            read_members(tmp_path / name)
        assert caught.value.code == "F380"
