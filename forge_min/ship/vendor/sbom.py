"""The bill of materials: CycloneDX 1.6 as JSON, the same bytes for the same wheels.

What a wheel's own bill says of libraries that were put into it (PEP 770) is in it too.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import PurePosixPath
from typing import Any

from ... import __version__
from .. import artifact
from ..project import Project
from .licences import licence_of
from .wheel import Wheel

NAME = "sbom.cdx.json"
Component = dict[str, Any]


def write_sbom(
    project: Project,
    wheels: Sequence[Wheel],
    scripts: Mapping[str, Distribution],
    date: str,
) -> str:
    """The bill of what a project takes from others.

    scripts: file in static/ → what it came with. date: ISO 8601 with its zone, or "unknown".
    """
    subject = {
        "type": "application",
        "bom-ref": f"{project.name}@{project.version}",
        "name": project.name,
        "version": project.version,
    }
    files = [_script(project, name, dist) for name, dist in scripts.items()]
    components = [*map(_component, wheels), *files]
    content = json.dumps([subject, components], sort_keys=True)
    tool = {"type": "application", "name": "forge_min", "version": __version__}
    metadata = {"tools": {"components": [tool]}, "component": subject}
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": metadata if date == "unknown" else {"timestamp": date, **metadata},
        "components": components,
        "dependencies": list(_dependencies(subject["bom-ref"], wheels, files)),
    }
    return json.dumps(bill, indent=1) + "\n"


def _component(wheel: Wheel) -> Component:
    dist = wheel.distribution()
    reference = _reference(wheel)
    component = {
        "type": "library",
        "bom-ref": reference,
        "name": wheel.name,
        "version": wheel.version,
        "hashes": [{"alg": "SHA-256", "content": wheel.digest}],
        "purl": reference,
        **_licences(dist),
    }
    inside = list(_inside(dist, reference))
    return {**component, "components": inside} if inside else component


def _reference(wheel: Wheel) -> str:
    return f"pkg:pypi/{wheel.name}@{wheel.version}?file_name={wheel.file}"


def _licences(dist: Distribution) -> Component:
    text = licence_of(dist)
    if not text:
        return {}
    if dist.metadata.get_all("License-Expression"):
        return {"licenses": [{"expression": text}]}
    return {"licenses": [{"license": {"name": text}}]}


def _script(project: Project, name: str, dist: Distribution) -> Component:
    purl = f"pkg:pypi/{artifact.normalise(dist.name)}@{dist.version}"
    member = project.scripts[name]["member"]
    return {
        "type": "file",
        "bom-ref": f"static/{name}",
        "name": f"static/{name}",
        "version": dist.version,
        "hashes": [{"alg": "SHA-256", "content": project.scripts[name]["sha256"]}],
        "purl": f"{purl}#{member}",
        **_licences(dist),
    }


def _inside(dist: Distribution, reference: str) -> Iterator[Component]:
    """The libraries of which the wheel's own bill says that they lie in it."""
    bills = artifact.recorded_files(dist, _is_bill)
    for number, text in enumerate(bills.values()):
        for found in json.loads(text).get("components", ()):
            name = str(found.get("name", ""))
            if name and artifact.normalise(name) != artifact.normalise(dist.name):
                kept = {key: found[key] for key in ("version", "purl") if key in found}
                mark = sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:12]
                own = f"{reference}#{number}-{mark}"
                yield {"type": "library", "bom-ref": own, "name": name, **kept}


def _is_bill(path: PurePosixPath) -> bool:
    return path.parent.name == "sboms" and path.name.endswith(".cdx.json")


def _dependencies(
    subject: str, wheels: Iterable[Wheel], files: Iterable[Component]
) -> Iterator[Mapping[str, object]]:
    references: dict[str, list[str]] = {}
    for wheel in wheels:
        references.setdefault(wheel.name, []).append(_reference(wheel))
    scripts = [file["bom-ref"] for file in files]
    roots = ("forge-min", "psycopg-binary", "pip")
    direct = [one for name in roots for one in references.get(name, ())]
    yield {"ref": subject, "dependsOn": [*direct, *scripts]}
    for wheel in wheels:
        names = artifact.required_names(wheel.distribution().requires or ())
        yield {
            "ref": _reference(wheel),
            "dependsOn": [one for name in sorted(set(names)) for one in references.get(name, ())],
        }
