"""verify: an artifact against what was built, and the evidence of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError
from ..project import find_root


def verify(args: argparse.Namespace) -> int:
    """Needs no project; inside one, the evidence tells whether a build gives the same bytes. Raises
    as `ship.verify` and `ship.write_evidence`.
    """
    from ... import ship
    from ...ops.door import tell

    found = ship.verify(Path(args.artifact), key=Path(args.key) if args.key else None)
    answer = {
        "path": str(found.path),
        "sha256": found.digest,
        "members": len(found.members),
        "signature": found.signature,
        "sbom": found.sbom,
        "info": dict(found.info),
    }
    lines = [
        f"{found.path}: all {len(found.members)} files are as they were built",
        f"sha256     {found.digest}",
        f"signature  {'by this key' if found.signature else 'not asked for: no --key'}",
        f"sbom       {'lists every input' if found.sbom else 'there is none'}",
    ]
    if args.evidence:
        tests = Path(args.tests) if args.tests else None
        written = ship.write_evidence(found, Path(args.evidence), root=_root(args), tests=tests)
        answer["evidence"] = [str(path) for path in written]
        lines += [f"wrote {path}" for path in written]
    tell(answer, lines, as_json=args.json)
    return 0


def _root(args: argparse.Namespace) -> Path | None:
    try:
        return find_root(args)
    except UsageError:
        return None
