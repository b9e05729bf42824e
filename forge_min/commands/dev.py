"""dev: serve the project, and reload it when files change."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from ..dev import Development
from .project import find_root, use_code


def dev(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises as `dev.Development`."""
    root = find_root(args)
    use_code(root)
    color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    log = partial(print, file=sys.stderr, flush=True)
    return Development(root, os.environ, log, color=color).run()
