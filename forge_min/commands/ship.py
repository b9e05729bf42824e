"""build, deploy, vendor, verify: the artifact and its deployment files."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from .. import ship
from ..errors import UsageError
from ..ops import print_result, warn
from ..resources import manual
from .project import find_root, read_resources

_SOURCES = {
    "vendor": "from the vendor folder",
    "wheel": "the installed version, as the wheel",
    "pure": "without the core, which does not fit this base (see `vendor --wheel`), as the wheel",
}


def build(args: argparse.Namespace) -> None:
    """Build the artifact; a terminal shows the steps. Raises as `ship.build`."""
    root = find_root(args)
    built = ship.build(
        root,
        read_resources(root, as_json=args.json),
        output=args.output,
        format=args.format,
        offline=args.offline,
        skip_css=args.skip_css,
        with_manual=args.with_manual,
        verify=args.verify,
        step=partial(_show_step, args),
    )
    warnings = [{"code": w.code, "message": w.message, "hint": w.hint} for w in built.warnings]
    for warning in built.warnings:
        warn(warning)
    lines = [_line(name, seconds) for name, seconds in built.steps.items()]
    count = built.info["lines"]
    size = f"{built.size:,} bytes, {sum(count.values()):,} lines of Python"
    size += f" ({count['project']:,} of the project, {count['forge_min']:,} of forge_min)"
    for part in built.info["left_out"]:
        size += f", without {part}"
    lines.append(f"{built.path}  {size}")
    output = asdict(built) | {"warnings": warnings}
    print_result(output, lines, as_json=args.json)


def _show_step(args: argparse.Namespace, name: str, seconds: float | None) -> None:
    """Show a step in a terminal when it starts (None), and its duration when it ends."""
    if sys.stderr.isatty() and not args.quiet:
        text = f"{name} ..."
        if seconds is not None:
            text = f"\r\x1b[K{_line(name, seconds)}\n"
        print(text, end="", file=sys.stderr, flush=True)


def _line(name: str, seconds: float) -> str:
    """Return the line of a finished step."""
    return f"{name:10} {seconds:6.2f} s"


def deploy(args: argparse.Namespace) -> None:
    """Write the deployment files. Raises as `ship.deploy`."""
    deployed = ship.deploy(
        find_root(args),
        base=args.base,
        vendor=args.vendor and args.vendor.absolute(),
        also=args.also or (),
        force=args.force,
        check=args.check,
    )
    origin = {"source": deployed.source, "place": deployed.place}
    output = {"written": deployed.written, "unchanged": deployed.unchanged, "forge_min": origin}
    lines = [f"wrote {name}" for name in deployed.written] or ["nothing to write"]
    lines.append(f"forge_min: {_SOURCES[deployed.source]} {deployed.place}")
    print_result(output, lines, as_json=args.json)


def vendor(args: argparse.Namespace) -> None:
    """Fill the vendor folder; a terminal shows the steps.

    Raises as `ship.vendor` and `ship.copy_source`.
    """
    root = find_root(args)
    if args.source:
        copied = ship.copy_source(root, force=args.force)
        lines = [f"{copied}: run it with PYTHONPATH=_vendor"]
        print_result({"path": str(copied)}, lines, as_json=args.json)
        return
    if args.offline and args.platform:
        raise UsageError(
            "--offline packs the installed packages, which fit only this machine",
            hint="leave out --platform, or --offline",
        )
    vendored = ship.vendor(
        root,
        output=args.output,
        platforms=args.platform,
        own=args.wheel,
        offline=args.offline,
        step=partial(_show_step, args),
    )
    if manual() is None:
        warn("vendor/manual is missing: this forge_min has no rendered manual (help F355)")
    lines = []
    for name, licence in vendored.licences.items():
        lines.append(f"{name:40} {licence or 'licence unknown'}")
    lines.append(f"{vendored.path}  {len(vendored.wheels)} wheels, {vendored.size / 1e6:.1f} MB")
    lines.append(f"on the target machine: sh {vendored.path.name}/install.sh")
    print_result(asdict(vendored), lines, as_json=args.json)


def verify(args: argparse.Namespace) -> None:
    """Check an artifact.

    Needs no project. In a project, the evidence reports whether a new build has the same bytes.
    Raises as `ship.verify` and `ship.write_evidence`.
    """
    verified = ship.verify(args.artifact, key=args.key)
    output = {
        "path": str(verified.path),
        "sha256": verified.digest,
        "members": len(verified.members),
        "signature": verified.signature,
        "sbom": verified.sbom,
        "info": dict(verified.info),
    }
    signature = "by this key" if verified.signature else "not checked without --key"
    sbom = "lists every input" if verified.sbom else "is missing"
    lines = [
        f"{verified.path}: all {len(verified.members)} files are unchanged since the build",
        f"sha256     {verified.digest}",
        f"signature  {signature}",
        f"sbom       {sbom}",
    ]
    if args.evidence:
        root = None
        with suppress(UsageError):
            root = find_root(args)
        written, failed = ship.write_evidence(verified, args.evidence, root=root, tests=args.tests)
        for proof in failed:
            warn(f"failed proof: {proof.claim} ({proof.because})")
        output["evidence"] = [str(path) for path in written]
        lines += [f"wrote {path}" for path in written]
    print_result(output, lines, as_json=args.json)
