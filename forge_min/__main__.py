"""`python -m forge_min`."""

from __future__ import annotations

import os
import sys

try:
    _HERE = os.getcwd()
except OSError:  # the folder is gone, and -m has put nothing
    _HERE = ""
# SAFETY: before all other imports. -m puts the working directory first on sys.path: there a
# project's own json.py would run where `build` promises to run nothing of it. Who needs the
# project's code puts it there (commands/project.py); this package is found by its own __path__.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] in ([_HERE], [""]):
    del sys.path[0]

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
