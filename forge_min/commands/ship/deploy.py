"""deploy: the files that put a project into an image or onto a host."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..project import find_root

_SOURCES = {
    "vendor": "from the vendor folder",
    "wheel": "the one that is installed here, as the wheel",
    "pure": "without a core, as none here fits this base (see `vendor --wheel`), as the wheel",
}


def deploy(args: argparse.Namespace) -> int:
    """Raises as `ship.deploy`."""
    from ... import ship
    from ...ops.door import tell

    done = ship.deploy(
        find_root(args),
        base=args.base,
        vendor=None if args.vendor is None else Path(args.vendor).absolute(),
        also=args.also or (),
        force=args.force,
        check=args.check,
    )
    wrote = [f"wrote {name}" for name in done.written] or ["nothing to write"]
    origin = {"source": done.source, "place": done.place}
    answer = {"written": done.written, "unchanged": done.unchanged, "forge_min": origin}
    tell(answer, [*wrote, f"forge_min: {_SOURCES[done.source]} {done.place}"], as_json=args.json)
    return 0
