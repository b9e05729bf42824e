"""The bill of materials, CycloneDX 1.6 as JSON, and licences of distributions.

The same wheels give the same bytes. The libraries that a wheel's own bill lists (PEP 770) are
included.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import PurePosixPath
from typing import Any

from ... import __version__
from ..artifact.distributions import BASE, normalise, recorded_files, required_names
from ..project import ProjectInfo
from ..provenance import source_date
from .wheel import OWN, Wheel

NAME = "sbom.cdx.json"
_OWN_LICENCE = [{"expression": "MIT"}]  # a checkout has no metadata
_TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BillEntry:
    """One distribution of the bill.

    dist: None for forge_min itself, in an artifact.
    file, digest: name and SHA-256 of the wheel, "" if it is not from one.
    """

    name: str
    version: str
    dist: Distribution | None = None
    file: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """The package URL, which is unique in the bill."""
        url = f"pkg:pypi/{self.name}@{self.version}"
        if self.file:
            url += f"?file_name={self.file}"
        return url

    @property
    def requires(self) -> set[str]:
        """The normalised names of required distributions."""
        if self.dist is None:
            return set(BASE)
        return set(required_names(self.dist.requires or ()))


def sbom_of_wheels(project: ProjectInfo, wheels: Iterable[Wheel]) -> bytes:
    """Return the bill of a vendor folder. Raises BuildError F200."""
    parts = []
    for wheel in wheels:
        dist = wheel.distribution()
        parts.append(BillEntry(wheel.name, wheel.version, dist, wheel.file, wheel.digest))
    return _write(project, parts)


def sbom_of_artifact(project: ProjectInfo, distributions: Iterable[Distribution]) -> bytes:
    """Return the bill of an artifact with forge_min and these. Raises BuildError F200."""
    parts = [BillEntry(OWN, __version__)]
    for dist in distributions:
        parts.append(BillEntry(normalise(dist.name), dist.version, dist))
    return _write(project, parts)


def _write(project: ProjectInfo, parts: Sequence[BillEntry]) -> bytes:
    subject = {
        "type": "application",
        "bom-ref": f"{project.name}@{project.version}",
        "name": project.name,
        "version": project.version,
    }
    components = list(map(_component, parts))
    content = json.dumps([subject, components], sort_keys=True)
    tool = {"type": "application", "name": "forge_min", "version": __version__}
    metadata: Component = {}
    date = source_date(project.root)
    if date != "unknown":
        metadata["timestamp"] = date
    metadata["tools"] = {"components": [tool]}
    metadata["component"] = subject
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": list(_dependencies(subject["bom-ref"], parts)),
    }
    return f"{json.dumps(bill, indent=1)}\n".encode()


def _component(part: BillEntry) -> Component:
    component: Component = {
        "type": "library",
        "bom-ref": part.reference,
        "name": part.name,
        "version": part.version,
    }
    if part.digest:
        component["hashes"] = [{"alg": "SHA-256", "content": part.digest}]
    licences = _OWN_LICENCE
    libraries = []
    if part.dist:
        licences = _licences(part.dist)
        libraries = list(_libraries(part.dist, part.reference))
    if licences:
        component["licenses"] = licences
    component["purl"] = part.reference
    if libraries:
        component["components"] = libraries
    return component


def _licences(dist: Distribution) -> list[Component]:
    text = licence_of(dist)
    if "License-Expression" in dist.metadata:
        return [{"expression": text}]
    if text:
        return [{"license": {"name": text}}]
    return []


def _libraries(dist: Distribution, reference: str) -> Iterator[Component]:
    """Yield the libraries that the wheel's own bill lists."""
    for number, text in enumerate(recorded_files(dist, _is_bill).values()):
        for row in json.loads(text).get("components", ()):
            name = str(row.get("name", ""))
            if not name or normalise(name) == normalise(dist.name):
                continue
            digest = sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:12]
            component = {"type": "library", "bom-ref": f"{reference}#{number}-{digest}"}
            for key in ("name", "version", "purl"):
                if key in row:
                    component[key] = row[key]
            yield component


def _is_bill(path: PurePosixPath) -> bool:
    return path.parent.name == "sboms" and path.name.endswith(".cdx.json")


def _dependencies(subject: str, parts: Sequence[BillEntry]) -> Iterator[Component]:
    """Yield the dependencies of each entry.

    The project depends on the distributions that no other requires.
    """
    references: dict[str, list[str]] = {}
    required = set()
    for part in parts:
        references.setdefault(part.name, []).append(part.reference)
        required |= part.requires
    direct = _listed(references.keys() - required, references)
    yield {"ref": subject, "dependsOn": direct}
    for part in parts:
        names = part.requires & references.keys()
        yield {"ref": part.reference, "dependsOn": _listed(names, references)}


def _listed(names: Iterable[str], references: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the references of the distributions of these names."""
    result: list[str] = []
    for name in sorted(names):
        result += references[name]
    return result


def licence_of(dist: Distribution) -> str:
    """Return its SPDX expression (PEP 639), else its name in the metadata, else ""."""
    metadata = dist.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"].strip()
    names = metadata.get_all("License") or [""]
    name = str(names[0]).strip()
    if 0 < len(name) <= 80 and "\n" not in name:  # some have the whole text there
        return name
    for row in metadata.get_all("Classifier") or ():
        if row.startswith("License :: "):
            return str(row.rpartition(" :: ")[2])
    return ""


def licence_texts(dist: Distribution) -> dict[str, bytes]:
    """Return licences and notices by name in the vendor folder. Raises as `recorded_files`."""
    folder = f"licenses/{normalise(dist.name)}-{dist.version}"
    texts = {}
    for name, data in recorded_files(dist, _is_text).items():
        # Without the first folder, x.dist-info, and its licenses/.
        short = name.partition("/")[2].removeprefix("licenses/")
        texts[f"{folder}/{short}"] = data
    return texts


def _is_text(path: PurePosixPath) -> bool:
    if not path.parts[0].endswith(".dist-info"):
        return False
    return "licenses" in path.parts or _TEXT.match(path.name) is not None
