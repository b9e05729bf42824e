"""The bill of materials, CycloneDX 1.6 as JSON, and licences of distributions.

The same wheels give the same bytes. What a wheel's own bill says of libraries that were put into
it (PEP 770) is in it too.
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
_OWN_LICENCE = [{"expression": "MIT"}]  # where it runs from a folder, nothing tells it
_TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BillEntry:
    """One entry of the bill. dist: None for forge_min itself, in an artifact. file and digest: of
    the wheel, where it is one.
    """

    name: str
    version: str
    dist: Distribution | None = None
    file: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """Its package URL, which no other part has."""
        return f"pkg:pypi/{self.name}@{self.version}" + (self.file and f"?file_name={self.file}")

    @property
    def requires(self) -> set[str]:
        """Names of what it needs."""
        if self.dist is None:
            return set(BASE)
        return set(required_names(self.dist.requires or ()))


def sbom_of_wheels(
    project: ProjectInfo, wheels: Iterable[Wheel], scripts: Mapping[str, Distribution]
) -> bytes:
    """The bill of a vendor folder. scripts: file in static/ → what it came with. Raises F347."""
    parts = [BillEntry(w.name, w.version, w.distribution(), w.file, w.digest) for w in wheels]
    return _write(project, parts, scripts)


def sbom_of_artifact(project: ProjectInfo, distributions: Iterable[Distribution]) -> bytes:
    """The bill of an artifact with these distributions and forge_min. Raises F347."""
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
    """The libraries of which the wheel's own bill says that they lie in it."""
    for number, text in enumerate(recorded_files(dist, _is_bill).values()):
        for found in json.loads(text).get("components", ()):
            name = str(found.get("name", ""))
            if name and normalise(name) != normalise(dist.name):
                kept = {key: found[key] for key in ("version", "purl") if key in found}
                mark = sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:12]
                own = f"{reference}#{number}-{mark}"
                yield {"type": "library", "bom-ref": own, "name": name, **kept}


def _is_bill(path: PurePosixPath) -> bool:
    return path.parent.name == "sboms" and path.name.endswith(".cdx.json")


def _dependencies(
    subject: str, parts: Sequence[BillEntry], files: Sequence[Component]
) -> Iterator[Component]:
    """What each needs; the project needs its scripts, and what nothing else does."""
    references: dict[str, list[str]] = {}
    for part in parts:
        references.setdefault(part.name, []).append(part.reference)
    needed = set().union(*(part.requires for part in parts))
    direct = [one for name in sorted(references.keys() - needed) for one in references[name]]
    yield {"ref": subject, "dependsOn": [*direct, *(file["bom-ref"] for file in files)]}
    yield from ({"ref": file["bom-ref"], "dependsOn": []} for file in files)
    for part in parts:
        names = sorted(part.requires & references.keys())
        yield {"ref": part.reference, "dependsOn": [r for name in names for r in references[name]]}


def licence_of(dist: Distribution) -> str:
    """Its SPDX expression (PEP 639), else what its author calls it, else ""."""
    words = dist.metadata
    if "License-Expression" in words:
        return words["License-Expression"].strip()
    named = str((words.get_all("License") or [""])[0]).strip()
    if 0 < len(named) <= 80 and "\n" not in named:  # some put the whole text there
        return named
    rows = words.get_all("Classifier") or []
    return next((row.rpartition(" :: ")[2] for row in rows if row.startswith("License :: ")), "")


def licence_texts(dist: Distribution) -> dict[str, bytes]:
    """Licences and notices by their name in the vendor folder. Raises as `recorded_files`."""
    folder = f"licenses/{normalise(dist.name)}-{dist.version}"
    texts = recorded_files(dist, _is_text)
    return {f"{folder}/{'/'.join(_below(name))}": data for name, data in texts.items()}


def _is_text(path: PurePosixPath) -> bool:
    described = path.parts[0].endswith(".dist-info")
    return described and ("licenses" in path.parts or _TEXT.match(path.name) is not None)


def _below(name: str) -> tuple[str, ...]:
    """The path below x.dist-info/ and below its licenses/, where installers put them."""
    parts = PurePosixPath(name).parts[1:]
    return parts[1:] if parts[0] == "licenses" else parts
