"""build and deploy: the artifact, and the files that put it into an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import Progress, step_line
from .project import find_root, read_resources
from .tree import add_command

if TYPE_CHECKING:
    from ..ship import Built
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the commands."""
    build = add_command(
        commands, "build", _build, help="build the artifact", example="build -o dist/shop.pyz"
    )
    build.add_argument("-o", "--output", type=Path, metavar="PATH", help="default: dist/NAME.pyz")
    build.add_argument("--format", choices=["zipapp", "dir"], default="zipapp")
    build.add_argument("--offline", action="store_true", help="fail where the network is asked")
    build.add_argument("--skip-css", action="store_true", help="leave the stylesheets as they are")
    deploy = add_command(
        commands,
        "deploy",
        _deploy,
        help="write Dockerfile and .dockerignore",
        example="deploy --base debian",
    )
    deploy.add_argument("--base", choices=["alpine", "debian"], default="alpine")
    deploy.add_argument("--force", action="store_true", help="write over edited files")
    deploy.add_argument("--check", action="store_true", help="write nothing; fail if they differ")


def _build(args: argparse.Namespace) -> int:
    from ..ship import build

    root = find_root(args)
    if read_resources(root, as_json=args.json) is None:
        return 1
    built = build(
        root,
        output=args.output,
        format=args.format,
        offline=args.offline,
        skip_css=args.skip_css,
        step=Progress(quiet=args.quiet).step,
    )
    print(json.dumps(_as_json(built)) if args.json else _as_text(built))
    return 0


def _as_json(built: Built) -> dict[str, object]:
    return {
        "path": str(built.path),
        "format": built.format,
        "size": built.size,
        "steps": {name: round(seconds, 4) for name, seconds in built.steps.items()},
        "info": dict(built.info),
    }


def _as_text(built: Built) -> str:
    steps = [step_line(name, seconds) for name, seconds in built.steps.items()]
    return "\n".join([*steps, f"{built.path}  {built.size / 1e6:.1f} MB"])


def _deploy(args: argparse.Namespace) -> int:
    from ..ship import deploy

    done = deploy(find_root(args), base=args.base, force=args.force, check=args.check)
    if args.json:
        print(json.dumps({"written": done.written, "unchanged": done.unchanged}))
    else:
        print("\n".join(f"wrote {name}" for name in done.written) or "nothing to write")
    return 0
