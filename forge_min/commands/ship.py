"""build, deploy, vendor, verify: the artifact, and what carries it to where it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import ship
from ..errors import UsageError
from ..ops import tell, warn
from .project import find_root, read_resources

_SOURCES = {
    "vendor": "from the vendor folder",
    "wheel": "the one that is installed here, as the wheel",
    "pure": "without a core, as none here fits this base (see `vendor --wheel`), as the wheel",
}


def build(args: argparse.Namespace) -> None:
    """Tells of the steps on a terminal. Raises as `ship.build`."""
    root = find_root(args)
    read_resources(root, as_json=args.json)
    built = ship.build(
        root,
        output=args.output,
        format=args.format,
        offline=args.offline,
        skip_css=args.skip_css,
        verify=args.verify,
        step=show if sys.stderr.isatty() and not args.quiet else None,
    )
    answer = {
        "path": str(built.path),
        "format": built.format,
        "size": built.size,
        "steps": {name: round(seconds, 4) for name, seconds in built.steps.items()},
        "info": dict(built.info),
        "warnings": [
            {"code": one.code, "message": one.message, "hint": one.hint} for one in built.warnings
        ],
    }
    for one in built.warnings:
        warn(one)
    lines = [_line(name, seconds) for name, seconds in built.steps.items()]
    count = built.info["lines"]
    size = f"{built.size:,} bytes, {sum(count.values()):,} lines of Python"
    size += f" ({count['project']:,} of the project, {count['forge_min']:,} of forge_min)"
    size += "".join(f", without {part}" for part in built.info["left_out"])
    tell(answer, [*lines, f"{built.path}  {size}"], as_json=args.json)


def show(name: str, seconds: float | None) -> None:
    """On stderr: a step begins (None) or has ended after so many seconds."""
    done = None if seconds is None else f"\r\x1b[K{_line(name, seconds)}\n"
    print(done or f"{name} ...", end="", file=sys.stderr, flush=True)


def _line(name: str, seconds: float) -> str:
    """One finished step, for a person."""
    return f"{name:10} {seconds:6.2f} s"


def deploy(args: argparse.Namespace) -> None:
    """Raises as `ship.deploy`."""
    done = ship.deploy(
        find_root(args),
        base=args.base,
        vendor=args.vendor and args.vendor.absolute(),
        also=args.also or (),
        force=args.force,
        check=args.check,
    )
    wrote = [f"wrote {name}" for name in done.written] or ["nothing to write"]
    origin = {"source": done.source, "place": done.place}
    answer = {"written": done.written, "unchanged": done.unchanged, "forge_min": origin}
    tell(answer, [*wrote, f"forge_min: {_SOURCES[done.source]} {done.place}"], as_json=args.json)


def vendor(args: argparse.Namespace) -> None:
    """Tells of the steps on a terminal. Raises as `ship.vendor` and `ship.copy_source`."""
    root = find_root(args)
    if args.source:
        copied = ship.copy_source(root, force=args.force)
        lines = [f"{copied}: it runs where PYTHONPATH=_vendor"]
        tell({"path": str(copied)}, lines, as_json=args.json)
        return
    if args.offline and args.platform:
        raise UsageError(
            "--offline packs what is installed, which is for this machine alone",
            hint="leave out --platform, or --offline",
        )
    done = ship.vendor(
        root,
        output=args.output,
        platforms=args.platform,
        own=args.wheel,
        offline=args.offline,
        step=show if sys.stderr.isatty() and not args.quiet else None,
    )
    answer = {
        "path": str(done.path),
        "size": done.size,
        "steps": {name: round(seconds, 4) for name, seconds in done.steps.items()},
        "wheels": done.wheels,
        "licences": done.licences,
        "scripts": done.scripts,
    }
    licences = done.licences.items()
    lines = [f"{name:40} {licence or 'no licence named'}" for name, licence in licences]
    lines += [f"wrote static/{name}: commit it" for name in done.scripts]
    lines.append(f"{done.path}  {len(done.wheels)} wheels, {done.size / 1e6:.1f} MB")
    tell(answer, [*lines, f"there: sh {done.path.name}/install.sh"], as_json=args.json)


def verify(args: argparse.Namespace) -> None:
    """Check an artifact.

    Needs no project; inside one, the evidence tells whether a build gives the same bytes. Raises as
    `ship.verify` and `ship.write_evidence`.
    """
    found = ship.verify(args.artifact, key=args.key)
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
        written = ship.write_evidence(found, args.evidence, root=_root(args), tests=args.tests)
        answer["evidence"] = [str(path) for path in written]
        lines += [f"wrote {path}" for path in written]
    tell(answer, lines, as_json=args.json)


def _root(args: argparse.Namespace) -> Path | None:
    try:
        return find_root(args)
    except UsageError:
        return None
