"""verify: whatever was altered, added or removed is refused; signatures and SBOMs must hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import INFO, NAME, Manifest
from forge_min.ship import verify
from forge_min.ship.artifact.archive import write_checksums, write_folder, write_zipapp

MEMBERS = {
    "app.py": b"x = 1\n",
    "empty.py": b"",
    "_native/core.so": b"\x7fELF",
    "made-1.dist-info/METADATA": b"Name: made\nVersion: 1\nLicense: <b>mine</b>\n\n",
}


def small(path: Path, *, inputs: Mapping[str, str] | None = None, **more: bytes) -> Path:
    """An artifact with little in it: a zip, or a folder for a name without an ending."""
    members = MEMBERS | more
    manifest = Manifest.of(members)
    members[NAME] = manifest.write().encode()
    info = {"inputs": inputs or {"made": "1"}, "manifest": manifest.digest}
    members[INFO] = json.dumps(info).encode()
    (write_zipapp if path.suffix else write_folder)(members, path)
    write_checksums(path)
    return path


@pytest.fixture(params=["x.pyz", "x"])
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A zip and a folder."""
    return small(tmp_path / request.param)


def refused(path: Path, **how: Any) -> str:
    """What verify says of it."""
    with pytest.raises(BuildError) as caught:
        verify(path, **how)
    assert caught.value.code == "F380"
    return caught.value.message


def test_what_was_built_is_fine(artifact: Path) -> None:
    found = verify(artifact)
    assert found.info["inputs"] == {"made": "1"}
    assert set(found.members) == {*MEMBERS, NAME, INFO}
    assert (found.signature, found.sbom) == (False, False)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=artifact.parent, check=True)


def test_every_single_byte_of_a_zip_counts(tmp_path: Path) -> None:
    path = small(tmp_path / "x.pyz")
    data = bytearray(path.read_bytes())
    for place in range(len(data)):
        data[place] ^= 1
        path.write_bytes(data)
        refused(path)
        data[place] ^= 1
    path.write_bytes(data)
    assert verify(path)


def test_every_file_of_a_folder_counts(tmp_path: Path) -> None:
    path = small(tmp_path / "x")
    for name in verify(path).members.keys() - {"empty.py"}:
        data = (path / name).read_bytes()
        (path / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        refused(path)
        (path / name).write_bytes(data)
    assert verify(path)


def end_a_line_with(path: Path, end: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", end, 1))


HARMS: list[tuple[Callable[[Path], object], str]] = [
    (lambda p: (p / "evil.py").write_text(""), "evil.py was added"),
    (lambda p: (p / "app.py").unlink(), "app.py is missing"),
    (lambda p: (p / "all").symlink_to("/"), "all was added"),
    (lambda p: os.mkfifo(p / "pipe"), "pipe was added"),
    (lambda p: (p / "empty.py").unlink() or (p / "empty.py").symlink_to("/evil"), "empty.py was"),
    (lambda p: (p / "empty.py").unlink() or os.mkfifo(p / "empty.py"), "empty.py was altered"),
    (lambda p: (p / "empty.py").unlink() or (p / "empty.py").mkdir(), "empty.py is missing"),
    (lambda p: end_a_line_with(p / NAME, b"\r"), f"{NAME} is not the one"),
    (lambda p: (p / NAME).write_bytes((p / NAME).read_bytes()[:-1]), f"{NAME} is not the one"),
    (lambda p: (p / NAME).unlink(), NAME),
    (lambda p: (p / INFO).write_text("{}"), NAME),
    (lambda p: (p / INFO).write_text("[1]"), NAME),
]


@pytest.mark.parametrize(("harm", "said"), HARMS)
def test_a_file_that_was_added_or_removed_is_named(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    path = small(tmp_path / "x")
    harm(path)
    assert said in refused(path)


def test_of_many_files_that_differ_ten_are_named_and_the_others_counted(tmp_path: Path) -> None:
    many = {f"part/m{n:03}.py": b"x" for n in range(100)}
    path = small(tmp_path / "x", **many)
    shutil.rmtree(path / "part")
    (tmp_path / "SHA256SUMS").unlink()
    said = refused(path)
    assert said.count(" is missing") == 10 and "m009" in said and "m010" not in said
    assert "; and 90 more; no SHA256SUMS beside it" in said


def test_a_file_that_became_a_link_to_its_own_bytes_is_refused(tmp_path: Path) -> None:
    path = small(tmp_path / "x")
    (path / "app.py").rename(tmp_path / "app.py")
    (path / "app.py").symlink_to(tmp_path / "app.py")
    assert "app.py was altered" in refused(path)


def test_who_rewrites_the_manifest_too_is_caught_by_the_sums(tmp_path: Path) -> None:
    path = small(tmp_path / "x.pyz")
    sums = (tmp_path / "SHA256SUMS").read_bytes()
    small(path, evil=b"1")
    (tmp_path / "SHA256SUMS").write_bytes(sums)
    assert "x.pyz has another hash than in SHA256SUMS" in refused(path)


def test_without_sums_nothing_tells_what_it_should_be(artifact: Path) -> None:
    (artifact.parent / "SHA256SUMS").unlink()
    assert "no SHA256SUMS" in refused(artifact)


def test_a_build_info_without_inputs_is_none(tmp_path: Path) -> None:
    path = small(tmp_path / "x")
    told = json.loads((path / INFO).read_bytes())
    (path / INFO).write_text(json.dumps({**told, "inputs": None}))
    write_checksums(path)
    assert f"{INFO} lists no inputs" in refused(path)


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4 not really", b"#!/usr/bin/env python3\n" + b"\0" * 5000]
)
def test_what_is_no_artifact_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pyz").write_bytes(data)
    refused(tmp_path / "x.pyz")
    refused(tmp_path / "nowhere.pyz")


def test_a_folder_of_anything_else_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").write_text("mine")
    (tmp_path / "home" / "diary.txt").chmod(0)
    assert "is not an artifact" in refused(tmp_path / "home")
    path = small(tmp_path / "x")
    (path / INFO).unlink()
    assert "is not an artifact" in refused(path)


def bom(parts: list[tuple[str, str]], **more: str) -> str:
    """A bill of materials of these names and versions."""
    components = [{"name": name, "version": version} for name, version in parts]
    return json.dumps(
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components, **more}
    )


def test_an_sbom_beside_it_must_list_every_input(artifact: Path) -> None:
    beside = artifact.parent / "sbom.cdx.json"
    beside.write_text(bom([("Made", "1"), ("more", "2")]))
    assert verify(artifact).sbom
    for text in (bom([("made", "2")]), bom([]), bom([("made", "1")], specVersion="1.4"), "{}", "x"):
        beside.write_text(text)
        assert "sbom.cdx.json" in refused(artifact)


def test_an_sbom_inside_counts(tmp_path: Path) -> None:
    text = bom([("made", "1")]).encode()
    assert verify(small(tmp_path / "x.pyz", **{"sbom.cdx.json": text})).sbom
    wrong = small(tmp_path / "y.pyz", **{"sbom.cdx.json": bom([]).encode()})
    assert "does not list made 1" in refused(wrong)


def new_key(path: Path) -> Path:
    """A key pair of OpenSSH's; the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", path]
    subprocess.run(command, check=True)
    return path.with_name(f"{path.name}.pub")


needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


@needs_ssh
def test_a_signature_by_the_key_holds_and_no_other_does(artifact: Path, tmp_path: Path) -> None:
    public = new_key(tmp_path / "release")
    signed = artifact / INFO if artifact.is_dir() else artifact
    command = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(tmp_path / "release"), "-n", "file"]
    made = subprocess.run(command, input=signed.read_bytes(), capture_output=True, check=True)
    Path(f"{artifact}.sig").write_bytes(made.stdout)
    (tmp_path / "SHA256SUMS").unlink()  # the signature says as much, and more
    assert verify(artifact, key=public).signature
    assert "signature is not valid" in refused(artifact, key=new_key(tmp_path / "other"))
    small(artifact, evil=b"1")  # well made, by somebody else
    assert verify(artifact)
    assert "signature is not valid" in refused(artifact, key=public)


@needs_ssh
def test_a_signature_that_is_missing_or_a_key_that_is_none_is_refused(
    artifact: Path, tmp_path: Path
) -> None:
    assert "signature is not valid" in refused(artifact, key=new_key(tmp_path / "release"))
    (tmp_path / "empty.pub").write_text("")
    assert "signature is not valid" in refused(artifact, key=tmp_path / "empty.pub")
    assert "cannot be read" in refused(artifact, key=tmp_path / "nowhere.pub")


def test_a_program_that_is_missing_is_named(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini.pub").write_text("untrusted comment: minisign public key 1\nRWQ=\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "minisign is not installed" in refused(artifact, key=tmp_path / "mini.pub")


FAKE = """#!/bin/sh
[ "$1" = -V ] && cmp -s "$6" "$8" || { echo "Signature verification failed" >&2; exit 1; }
"""


def test_minisign_is_asked_about_the_file_and_its_minisig(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in with its options: -V -q -p KEY -m FILE -x SIGNATURE, "signed" by a copy."""
    program = tmp_path / "bin" / "minisign"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    key = tmp_path / "mini.pub"
    key.write_text("untrusted comment: minisign public key 1\nRWQ=\n")
    signed = artifact / INFO if artifact.is_dir() else artifact
    Path(f"{artifact}.minisig").write_bytes(signed.read_bytes())
    assert verify(artifact, key=key).signature
    Path(f"{artifact}.minisig").write_bytes(b"another")
    assert "Signature verification failed" in refused(artifact, key=key)
