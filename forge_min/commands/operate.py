"""The operating commands: what an artifact does by itself, done from a project's folder.

Their arguments are read by `entry`, so a project and its artifact take the same ones.
"""

from __future__ import annotations

import argparse

from ..errors import UsageError
from .project import find_root, use_code


def delegate(words: str, args: argparse.Namespace) -> int:
    """Run a command of `entry`, such as "migrate up", for the project of `args`.

    Raises UsageError F011 where there is none; help and version need none.
    """
    from ..entry import main

    try:
        use_code(find_root(args))
    except UsageError:
        if words != "version" and not {"-h", "--help"} & set(args.rest):
            raise
    options = ["--verbose"] if args.verbose else []
    json = ["--json"] if args.json else []
    return main([*options, *words.split(), *args.rest, *json], prog="forge-min")
