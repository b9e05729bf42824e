"""`python -m forge_min`."""

import os
import sys

try:
    _HERE = os.getcwd()
except OSError:  # the folder was deleted, so -m has added nothing
    _HERE = ""
# SAFETY: before all other imports. -m puts the working directory first on sys.path. A project's own
# json.py would then be imported, although `build` promises to run no code of the project. Commands
# that need that code add it (commands/project.py); this package is found by its own __path__.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] in ([_HERE], [""]):
    del sys.path[0]

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
