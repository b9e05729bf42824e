"""The artifact against its manifest, member by member, and what it has unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest, damage, read_each
from .finding import Finding, listed, skipped, verdict
from .site import Site


def check_artifact(site: Site) -> Iterator[Finding]:
    """Altered, missing and unexpected members; compiled parts that are not the artifact's."""
    if site.artifact is None:
        yield skipped("D201", "this is a project's folder, no artifact")
        return
    manifest, wrong = damage(site.artifact)
    extra = [name for name, what in wrong.items() if what == "added"]
    wrong = {name: what for name, what in wrong.items() if what != "added"}
    names = listed(f"{name} ({what})" for name, what in sorted(wrong.items()))
    well = f"all {len(manifest.hashes)} are as they were built"
    yield verdict("D201", "failed", names and f"not as they were built: {names}", well)
    unknown = extra and f"the manifest does not know {listed(extra)}"
    yield verdict("D202", "failed", unknown or "", "there are none")
    if site.native is not None and site.artifact.is_file():
        yield _unpacked(site.native.parent, manifest)


def _unpacked(folder: Path, manifest: Manifest) -> Finding:
    native = manifest.only(name for name in manifest.hashes if name.startswith("_native/"))
    present, unreadable = read_each(folder)
    wrong = sorted({*native.differences(present), *unreadable})
    message = f"not the artifact's: {listed(wrong)} in {folder}" if wrong else ""
    well = f"{len(native.hashes)} files in {folder}"
    return verdict("D203", "failed", message, well, folder=folder)
