"""What it costs to make gen/ for 100 resources of 20 fields: seconds and peak memory.

    python benchmarks/generate.py [--json FILE] [--resources 100] [--fields 20]

Each round is a fresh process, as the command is one: parse and write everything into an empty
folder, then once more with one schema changed. Medians of five. Goal: at most 2 s and 150 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROUNDS = 5
GOALS = {"parse": None, "generate": None, "first": 2.0, "again": None, "megabytes": 150.0}
KINDS = [
    'string("{name}", required=True, max_len=80, sortable=True, filterable=True, label="A {name}")',
    'int("{name}", min=0, max=1000, default=1, filterable=True)',
    'enum("{name}", ["draft", "open", "closed"], required=True, default="draft", filterable=True)',
    'decimal("{name}", precision=(12, 2), min=0)',
    'datetime("{name}", sortable=True, filterable=True)',
    'text("{name}", max_len=5000, searchable=True, help="Anything that is worth {name}")',
    'email("{name}", unique=True)',
    'json("{name}")',
]
TAIL = """\
    schema.belongs_to("Thing{back}", name="back"),
    schema.timestamps(),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef("Greet")])),
)
"""


def main() -> int:
    """0 when the goals are met."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="a file for the figures")
    options.add_argument("--resources", type=int, default=100)
    options.add_argument("--fields", type=int, default=20)
    options.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.folder:
        print(json.dumps(measure(args.folder)))
        return 0
    rounds = [one_round(args.resources, args.fields) for _ in range(ROUNDS)]
    found = {name: statistics.median(one[name] for one in rounds) for name in GOALS}
    for name, goal in GOALS.items():
        bound = f"  (goal: at most {goal:g})" if goal else ""
        print(f"{name:<10} {found[name]:8.2f}{bound}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(goal is not None and found[name] > goal for name, goal in GOALS.items()))


def one_round(resources: int, fields: int) -> dict[str, float]:
    """Seconds of each step, and the megabytes of the process at its largest."""
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        for number in range(resources):
            write_schema(Path(folder), number, fields)
        command = [sys.executable, __file__, "--in", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def write_schema(root: Path, number: int, fields: int, first: str = "field_0") -> None:
    """One of the schemas; the last fields are its relation and its times."""
    names = [first, *(f"field_{n}" for n in range(1, fields))]
    lines = [
        f"    schema.{KINDS[n % len(KINDS)].format(name=name)}," for n, name in enumerate(names)
    ]
    head = f'from forge_min import schema\n\nthing = schema.define(\n    "Thing{number}",\n'
    file = root / "resources" / f"thing{number}" / "schema.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + "\n".join(lines) + "\n" + TAIL.format(back=max(number - 1, 0)))


def measure(root: Path) -> dict[str, float]:
    """The steps in this process."""
    from forge_min.generate import generate
    from forge_min.parse import parse_project

    start = time.perf_counter()
    parsed = parse_project(root)
    read = time.perf_counter()
    assert not parsed.diagnostics, parsed.diagnostics[0].format()
    generate(root, parsed.resources)
    written = time.perf_counter()
    write_schema(root, 0, len(parsed.resources[0].fields), first="renamed")
    changed = time.perf_counter()
    report = generate(root, parse_project(root).resources)
    end = time.perf_counter()
    assert 0 < len(report.written) < 10, report.written
    return {
        "parse": read - start,
        "generate": written - read,
        "first": written - start,
        "again": end - changed,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
