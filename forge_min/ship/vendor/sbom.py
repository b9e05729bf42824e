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
        return f"pkg:pypi/{self.name}@{self.version}" + (self.file and f"?file_name={self.file}")

    @property
    def requires(self) -> set[str]:
        """The normalised names of required distributions."""
        if self.dist is None:
            return set(BASE)
        return set(required_names(self.dist.requires or ()))


def sbom_of_wheels(
    project: ProjectInfo, wheels: Iterable[Wheel], scripts: Mapping[str, Distribution]
) -> bytes:
    """Return the bill of a vendor folder. Raises BuildError F347.

    scripts: the distribution that contains it, by the name of a file in static/.
    """
    parts = [BillEntry(w.name, w.version, w.distribution(), w.file, w.digest) for w in wheels]
    return _write(project, parts, scripts)


def sbom_of_artifact(project: ProjectInfo, distributions: Iterable[Distribution]) -> bytes:
    """Return the bill of an artifact with forge_min and these. Raises BuildError F347."""
    parts = [BillEntry(normalise(d.name), d.version, d) for d in distributions]
    return _write(project, [BillEntry(OWN, __version__), *parts], {})


def _write(
    project: ProjectInfo, parts: Sequence[BillEntry], scripts: Mapping[str, Distribution]
) -> bytes:
    subject = {
        "type": "application",
        "bom-ref": f"{project.name}@{project.version}",
        "name": project.name,
        "version": project.version,
    }
    files = [_script(name, row, scripts.get(name)) for name, row in project.scripts.items()]
    components = [*map(_component, parts), *files]
    content = json.dumps([subject, components], sort_keys=True)
    tool = {"type": "application", "name": "forge_min", "version": __version__}
    metadata = {"tools": {"components": [tool]}, "component": subject}
    date = source_date(project.root)
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": metadata if date == "unknown" else {"timestamp": date, **metadata},
        "components": components,
        "dependencies": list(_dependencies(subject["bom-ref"], parts, files)),
    }
    return (json.dumps(bill, indent=1) + "\n").encode()


def _component(part: BillEntry) -> Component:
    component = {
        "type": "library",
        "bom-ref": part.reference,
        "name": part.name,
        "version": part.version,
        **_hash(part.digest),
        **_licences(part.dist),
        "purl": part.reference,
    }
    inside = [] if part.dist is None else list(_inside(part.dist, part.reference))
    return {**component, "components": inside} if inside else component


def _hash(digest: str) -> Component:
    return {"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}


def _licences(dist: Distribution | None) -> Component:
    if dist is None:
        return {"licenses": _OWN_LICENCE}
    text = licence_of(dist)
    if "License-Expression" in dist.metadata:
        return {"licenses": [{"expression": text}]}
    return {"licenses": [{"license": {"name": text}}]} if text else {}


def _script(name: str, row: Mapping[str, str], dist: Distribution | None) -> Component:
    wheel, _, version = row["wheel"].partition("==")
    return {
        "type": "file",
        "bom-ref": f"static/{name}",
        "name": f"static/{name}",
        "version": version,
        **_hash(row["sha256"]),
        **(_licences(dist) if dist else {}),
        "purl": f"pkg:pypi/{normalise(wheel)}@{version}#{row['member']}",
    }


def _inside(dist: Distribution, reference: str) -> Iterator[Component]:
    """Yield the libraries that the wheel's own bill lists."""
    for number, text in enumerate(recorded_files(dist, _is_bill).values()):
        for row in json.loads(text).get("components", ()):
            name = str(row.get("name", ""))
            if name and normalise(name) != normalise(dist.name):
                known = {key: row[key] for key in ("version", "purl") if key in row}
                digest = sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:12]
                own = f"{reference}#{number}-{digest}"
                yield {"type": "library", "bom-ref": own, "name": name, **known}


def _is_bill(path: PurePosixPath) -> bool:
    return path.parent.name == "sboms" and path.name.endswith(".cdx.json")


def _dependencies(
    subject: str, parts: Sequence[BillEntry], files: Sequence[Component]
) -> Iterator[Component]:
    """Yield the dependencies of each entry.

    The project depends on its scripts and on the distributions that no other requires.
    """
    references: dict[str, list[str]] = {}
    for part in parts:
        references.setdefault(part.name, []).append(part.reference)
    required = set().union(*(part.requires for part in parts))
    direct = [ref for name in sorted(references.keys() - required) for ref in references[name]]
    yield {"ref": subject, "dependsOn": [*direct, *(file["bom-ref"] for file in files)]}
    yield from ({"ref": file["bom-ref"], "dependsOn": []} for file in files)
    for part in parts:
        names = sorted(part.requires & references.keys())
        yield {"ref": part.reference, "dependsOn": [r for name in names for r in references[name]]}


def licence_of(dist: Distribution) -> str:
    """Return its SPDX expression (PEP 639), else its name in the metadata, else ""."""
    metadata = dist.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"].strip()
    name = str((metadata.get_all("License") or [""])[0]).strip()
    if 0 < len(name) <= 80 and "\n" not in name:  # some have the whole text there
        return name
    rows = metadata.get_all("Classifier") or []
    return next((row.rpartition(" :: ")[2] for row in rows if row.startswith("License :: ")), "")


def licence_texts(dist: Distribution) -> dict[str, bytes]:
    """Return licences and notices by name in the vendor folder. Raises as `recorded_files`."""
    folder = f"licenses/{normalise(dist.name)}-{dist.version}"
    texts = recorded_files(dist, _is_text)
    # Without the first folder, x.dist-info, and its licenses/.
    names = {name: name.partition("/")[2].removeprefix("licenses/") for name in texts}
    return {f"{folder}/{names[name]}": data for name, data in texts.items()}


def _is_text(path: PurePosixPath) -> bool:
    in_info = path.parts[0].endswith(".dist-info")
    return in_info and ("licenses" in path.parts or _TEXT.match(path.name) is not None)
