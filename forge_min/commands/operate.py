"""The operating commands: what an artifact does by itself, done from a project's folder.

Their arguments are read by `entry`, so a project and its artifact take the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..errors import UsageError
from .made import CHECKS
from .project import find_root, use_code

if TYPE_CHECKING:
    from ..doctor import Finding


def delegate(words: str, args: argparse.Namespace) -> int:
    """Run a command of `entry`, such as "migrate up", for the project of `args`.

    Raises UsageError F011 where there is none; help and version need none.
    """
    from ..entry import main

    checks: Mapping[str, Callable[[], Iterable[Finding]]] = {}
    try:
        root = find_root(args)
        use_code(root)
        if words == "doctor":
            checks = {code: partial(check, root) for code, check in CHECKS.items()}
    except UsageError:
        if words != "version" and not {"-h", "--help"} & set(args.rest):
            raise
    options = ["--verbose"] if args.verbose else []
    json = ["--json"] if args.json else []
    return main([*options, *words.split(), *args.rest, *json], prog="forge-min", checks=checks)
