"""build and deploy: the artifact, and the files that put it into an image or onto a host."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .project import find_root, read_resources


def build(args: argparse.Namespace) -> int:
    """Tells of the steps on a terminal. Raises as `ship.build`."""
    from .. import ship
    from ..ops.door import tell, warn

    root = find_root(args)
    read_resources(root, as_json=args.json)
    built = ship.build(
        root,
        output=None if args.output is None else Path(args.output),
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
    steps = [_line(name, seconds) for name, seconds in built.steps.items()]
    tell(answer, [*steps, f"{built.path}  {built.size / 1e6:.1f} MB"], as_json=args.json)
    return 0


def show(name: str, seconds: float | None) -> None:
    """On stderr: a step begins (None) or has ended after so many seconds."""
    done = None if seconds is None else f"\r\x1b[K{_line(name, seconds)}\n"
    print(done or f"{name} ...", end="", file=sys.stderr, flush=True)


def _line(name: str, seconds: float) -> str:
    """One finished step, for a person."""
    return f"{name:10} {seconds:6.2f} s"
