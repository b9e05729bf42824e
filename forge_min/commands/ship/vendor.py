"""vendor: a folder for machines without network; with --source forge_min itself in the project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import UsageError
from ..build import show
from ..project import find_root


def vendor(args: argparse.Namespace) -> int:
    """Tells of the steps on a terminal. Raises as `ship.vendor` and `ship.copy_source`."""
    from ... import ship
    from ...ops.door import tell

    root = find_root(args)
    if args.source:
        copied = ship.copy_source(root, force=args.force)
        tell(
            {"path": str(copied)},
            [f"{copied}: it runs where PYTHONPATH=_vendor"],
            as_json=args.json,
        )
        return 0
    if args.offline and args.platform:
        raise UsageError(
            "--offline packs what is installed, which is for this machine alone",
            hint="leave out --platform, or --offline",
        )
    done = ship.vendor(
        root,
        output=None if args.output is None else Path(args.output),
        platforms=args.platform,
        own=[Path(file) for file in args.wheel],
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
    lines = [
        f"{name:40} {licence or 'no licence named'}" for name, licence in done.licences.items()
    ]
    lines += [f"wrote static/{name}: commit it" for name in done.scripts]
    lines.append(f"{done.path}  {len(done.wheels)} wheels, {done.size / 1e6:.1f} MB")
    tell(answer, [*lines, f"there: sh {done.path.name}/install.sh"], as_json=args.json)
    return 0
