"""`make size`: lines of code of forge_min, and of a Django stack with the same features.

    python benchmarks/size.py ENVIRONMENT

ENVIRONMENT is a virtual environment with requirements-size.txt. Both are counted by the same
function: lines of .py, .pyx, .pxi and .pxd that hold code, without blank lines, comments and
docstrings. Tests are left out. Both sums include all packages that are installed as dependencies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import forge_min

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from architecture_sources import CODE, code_files, code_lines, package_of  # noqa: E402

OURS = (
    "psycopg",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "typing_extensions",
)
INSTALLER = {"pip", "setuptools", "wheel"}
LIST = """
import json
from importlib.metadata import distributions
print(json.dumps({
    d.name.lower(): [str(d.locate_file(f)) for f in d.files or ()] for d in distributions()
}))
"""


def main() -> int:
    """Print lines by package, then both sums."""
    environment = Path(sys.argv[1])
    package = Path(forge_min.__file__).parent
    sizes: dict[str, int] = {}
    for path in code_files(package):
        name = package_of(path.relative_to(package).as_posix())
        sizes[name] = sizes.get(name, 0) + code_lines(path)
    for name, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{lines:7,}  {name}")
    ours = sum(sizes.values())
    runtime = {name: count(map(str, files_of(name))) for name in OURS}
    print(f"{ours:7,}  forge_min\n")
    for name, lines in runtime.items():
        print(f"{lines:7,}  {name}")
    print()
    stack = installed(environment)
    for name, lines in sorted(stack.items(), key=lambda item: -item[1]):
        print(f"{lines:7,}  {name}")
    total, others = ours + sum(runtime.values()), sum(stack.values())
    print(f"\n{total:7,}  forge_min with its packages\n{others:7,}  the Django stack", end="")
    print(f" ({others / total:.1f} times as many)")
    return 0


def files_of(name: str) -> list[Path]:
    """The files of an installed distribution."""
    found = distribution(name)
    return [Path(str(found.locate_file(file))) for file in found.files or ()]


def installed(environment: Path) -> dict[str, int]:
    """Lines by distribution of another environment."""
    python = environment / "bin" / "python"
    done = subprocess.run([python, "-c", LIST], capture_output=True, text=True, check=True)
    listed: dict[str, list[str]] = json.loads(done.stdout)
    return {name: count(files) for name, files in listed.items() if name not in INSTALLER}


def count(files: Iterable[str]) -> int:
    """Lines of code in those of the files that are code and no tests."""
    total = 0
    for path in map(Path, files):
        inside = path.parts[path.parts.index("site-packages") + 1 :] if is_code(path) else ()
        if inside and not {"tests", "test", "testing"} & set(inside):
            total += code_lines(path)
    return total


def is_code(path: Path) -> bool:
    """Whether it is a file of code below site-packages."""
    return path.suffix in CODE and path.is_file() and "site-packages" in path.parts


if __name__ == "__main__":
    sys.exit(main())
