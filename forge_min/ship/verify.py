"""Checks an artifact: checksums, manifest, build info, SBOM, signature, and against a second build.

It only reads. `build` uses it to skip an unchanged project, and `verify` to report differences.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import BuildError
from ..manifest import INFO, NAME, Manifest, read_members
from .artifact.archive import CHECKSUMS, SHEBANG, checksum_name, read_checksums, zip_bytes
from .artifact.distributions import normalise
from .errors import build_error, first_of, one_line
from .progress import run_program
from .vendor.sbom import NAME as SBOM

_DERIVED = ("sources", "manifest")  # keys of build-info.json that follow from the inputs


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """An unchanged artifact.

    members: bytes by name inside it.
    info: the content of build-info.json.
    digest: SHA-256 of the file that SHA256SUMS lists: the zipapp, or a folder's build info.
    signature: whether a signature was checked.
    sbom: whether an SBOM was checked.
    """

    path: Path
    members: Mapping[str, bytes]
    info: Mapping[str, Any]
    digest: str
    signature: bool
    sbom: bool


def verify(path: Path, *, key: Path | None = None) -> VerifyResult:
    """Check an artifact, zipapp or folder: every hash, and the SBOM if one is in or beside it.

    key: a public key of OpenSSH or minisign; PATH.sig or PATH.minisig must be its signature.
        Without a key, SHA256SUMS must be beside the artifact.
    Raises BuildError F380 for a difference, and if it is not an artifact.
    """
    listed = path / INFO if path.is_dir() else path
    if not listed.is_file():  # first, because another folder may be large
        raise build_error("no_artifact", path=path)
    if key:
        _check_signature(listed, path, key)
    members = read_members(path)
    try:
        info = dict(json.loads(members[INFO]))
    except (KeyError, ValueError, TypeError):
        info = {}
    differences = list(_differences(members, info))
    digest = sha256(listed.read_bytes()).hexdigest()
    wrong = first_of(differences, 10)
    wrong += _checksum_differences(path, digest, required=key is None)
    bill = members.get(SBOM)
    beside = path.parent / SBOM
    if bill is None and beside.is_file():
        bill = beside.read_bytes()
    if bill is not None and not wrong:
        differences = list(_sbom_differences(bill, info["inputs"]))
        wrong = first_of(differences, 10)
    if wrong:
        raise build_error("not_as_built", path=path, what="; ".join(wrong))
    return VerifyResult(path, members, info, digest, key is not None, bill is not None)


def _differences(members: Mapping[str, bytes], info: Mapping[str, Any]) -> Iterator[str]:
    if NAME not in members or INFO not in members:
        yield f"it lacks {NAME} or {INFO}"
        return
    manifest = members[NAME]
    if info.get("manifest") != sha256(manifest).hexdigest():
        yield f"{NAME} is not the one of {INFO}"
    if not isinstance(info.get("inputs"), dict):
        yield f"{INFO} lists no inputs"
    listed = Manifest.read(manifest.decode("utf-8", "replace"))
    for name, what in listed.differences(members).items():
        verb = "is" if what == "missing" else "was"
        yield f"{name} {verb} {what}"


def _checksum_differences(path: Path, digest: str, *, required: bool) -> Iterator[str]:
    name = checksum_name(path)
    listed = read_checksums(path.parent / CHECKSUMS).get(name)
    if listed is None:
        if required:
            yield f"no {CHECKSUMS} beside it lists the hash of {name}, and --key is not given"
    elif listed != digest:
        yield f"{name} has another hash than in {CHECKSUMS}"


def _sbom_differences(bill: bytes, inputs: Mapping[str, str]) -> Iterator[str]:
    """Yield the reasons why the bill is not CycloneDX 1.6 with every input and its version."""
    components = set()
    try:
        bom = json.loads(bill)
        kind = (bom["bomFormat"], bom["specVersion"])
        for part in bom["components"]:
            components.add((normalise(part["name"]), part.get("version")))
    except (ValueError, KeyError, TypeError) as err:
        yield f"{SBOM} cannot be read: {err!r}"
        return
    if kind != ("CycloneDX", "1.6"):
        yield f"{SBOM} is not CycloneDX 1.6"
    for name, version in inputs.items():
        if (normalise(name), version) not in components:
            yield f"{SBOM} does not list {name} {version}"


def _check_signature(signed: Path, path: Path, key: Path) -> None:
    try:
        public = key.read_text("utf-8").strip()
    except (OSError, ValueError) as err:
        raise build_error("no_key", path=key, why=err) from err
    kind = public.partition("\n")[0]
    if "minisign" in kind:
        command = ["minisign", "-V", "-q", "-p", str(key), "-m", str(signed)]
        _run(path, *command, "-x", f"{path}.minisig")
        return
    with tempfile.NamedTemporaryFile("w", prefix="forge-signers-") as signers:
        signers.write(f"forge {public}\n")
        signers.flush()
        command = ["ssh-keygen", "-Y", "verify", "-f", signers.name, "-I", "forge", "-n", "file"]
        _run(path, *command, "-s", f"{path}.sig", data=signed.read_bytes())


def _run(path: Path, *command: str, data: bytes = b"") -> None:
    try:
        result = run_program(command, input=data)
    except FileNotFoundError as err:
        raise build_error("no_program", program=command[0]) from err
    if result.returncode:
        why = one_line(result.stderr or result.stdout)
        what = f"its signature is not valid ({why})"
        raise build_error("not_as_built", path=path, what=what)


def read_current(path: Path, info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the build info of the artifact at `path` if it is intact and has these inputs.

    info: the build info without the hash of the manifest.
    """
    if not path.exists():
        return None
    try:
        current = verify(path).info
    except BuildError:
        return None
    if current.items() >= info.items():
        return dict(current)
    return None


def compare(path: Path, members: Mapping[str, bytes]) -> None:
    """Raise BuildError F381 unless a build with these members gives the artifact at `path`.

    The message names the differences. Raises BuildError F380 if the artifact is missing.
    """
    present = read_members(path)
    if present != members:
        names = "; ".join(_changes(present, members))
        raise build_error("not_same", path=path, names=names)
    if path.is_file() and path.read_bytes() != zip_bytes(members, SHEBANG):
        raise build_error("not_same", path=path, names="bytes of the zip outside its members")


def _changes(present: Mapping[str, bytes], members: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the inputs that differ, then members, without those that are derived from others."""
    old = _inputs(present)
    new = _inputs(members)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} was {old.get(key)}, and is {new.get(key)}"
    derived = []
    sources = []
    for name, what in Manifest.of(members).differences(present).items():
        line = f"{name} ({what})"
        if name.endswith((".pyc", ".gz")):
            derived.append(line)
        else:
            sources.append(line)
    yield from first_of(sources or derived, 10)


def _inputs(members: Mapping[str, bytes]) -> dict[str, object]:
    """Return the inputs in the build info of an artifact, by name."""
    info = dict(json.loads(members.get(INFO) or b"{}"))
    inputs = info.pop("inputs", None)
    for key in _DERIVED:
        info.pop(key, None)
    if isinstance(inputs, dict):
        info |= inputs
    return info
