"""Run as a program: writes a tree in children that kill themselves, one at each step.

Arguments: a folder to work in, "exchange" or "renames". Prints how many children were killed.
No tests.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from forge_min.generate import tree
from forge_min.generate.tree import MARKER, write_tree

OLD = {"__init__.py": "", "a/one.py": "x = 1\n", "a/same.py": "s = 0\n", "b/gone.py": "y = 1\n"}
NEW = {"__init__.py": "", "a/one.py": "x = 2\n", "a/same.py": "s = 0\n", "c/more.py": "z = 1\n"}


def read(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != MARKER:
            found[path.relative_to(folder).as_posix()] = path.read_text()
    return found


def die_at(step: int) -> None:
    """Every audited call (open, mkdir, link, rename, remove, ...) is one step."""
    steps = iter(range(step))

    def hook(event: str, _: object) -> None:
        if next(steps, None) is None:
            signal.raise_signal(signal.SIGKILL)  # os.kill is audited itself

    sys.addaudithook(hook)


def killed_at(folder: Path, step: int) -> bool:
    child = os.fork()
    if child == 0:
        die_at(step)
        write_tree(folder, NEW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(root: Path, how: str) -> int:
    if how == "renames":
        tree._exchange = lambda new, folder: False
    folder, step, seen = root / "gen", 0, set()
    while True:
        write_tree(folder, OLD)
        killed = killed_at(folder, step)
        whole = [name for name, files in (("old", OLD), ("new", NEW)) if read(folder) == files]
        if not whole and (how == "exchange" or folder.exists()):
            raise SystemExit(f"step {step} left {read(folder)}")
        seen.add(whole[0] if whole else "nothing")
        write_tree(folder, NEW)
        left = sorted(path.name for path in root.iterdir())
        if read(folder) != NEW or left != ["gen"]:
            raise SystemExit(f"after step {step} the next run left {left}, {read(folder)}")
        if not killed:
            break
        step += 1
    if not {"old", "new"} <= seen:
        raise SystemExit(f"only {seen} was seen")
    return step


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2]))
