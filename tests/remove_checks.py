"""Removes the checks of checks.toml one by one, and runs the tests that must notice it.

    python tests/remove_checks.py [WORD ...]          (make mutate; only the checks with a WORD)

Each row of checks.toml takes a permission, a tenant, a claim or another check away in a copy of the
repository. Exit 1 where its tests pass nevertheless, or where a row fits no line any more.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "__pycache__", "build", "dist")
MARKS = "not thorough and not image and not failover"  # those of make test
MOST = 600  # seconds of the tests of one row
FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?::(\S+)", re.MULTILINE)


def rows() -> list[dict[str, Any]]:
    """The checks, in their order."""
    found: list[dict[str, Any]] = tomllib.loads((HERE / "checks.toml").read_text())["check"]
    return found


def removed(row: dict[str, Any], package: Path) -> dict[Path, str]:
    """The files of a package without a check. Raises ValueError for a row that does not fit."""
    files: dict[Path, str] = {}
    for name, old, new in row["changes"]:
        file = package / name
        text = files.get(file) or file.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{row['name']}: {name} has {old!r} {text.count(old)} times, not once")
        files[file] = text.replace(old, new)
    return files


def noticed(row: dict[str, Any], copy: Path) -> str:
    """The first test that fails without the check; "" if all pass."""
    command = [sys.executable, "-m", "pytest", *row["tests"], "-x", "-q", "-m", MARKS]
    command += ["-p", "no:cacheprovider", "--tb=line"]
    try:
        ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=MOST)
    except subprocess.TimeoutExpired:
        return "(it waits forever)"
    if ran.returncode > 1:
        raise RuntimeError(f"{row['name']}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    failed = FAILED.search(ran.stdout)
    return failed[1] if failed else ""


def main(words: list[str]) -> int:
    """0 when tests notice the removal of every check."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="forge-checks-") as name:
        copy = Path(name, "copy")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
        for row in rows():
            if words and not any(word in row["name"] for word in words):
                continue
            try:
                files = removed(row, copy / "forge_min")
            except ValueError as err:
                wrong.append(str(err))
                continue
            before = {file: file.read_text() for file in files}
            for file, text in files.items():
                file.write_text(text)
            test = noticed(row, copy)
            for file, text in before.items():
                file.write_text(text)
            print(f"{row['name']}: {test or 'NOT NOTICED'}", flush=True)
            if not test:
                wrong.append(f"{row['name']}: removed, and no test notices it")
    for line in wrong:
        print(f"error: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
