"""Rendering a page of 25 rows: a compiled page of ours beside Jinja2, the same rows, in turns.

python benchmarks/http/render.py [--json FILE]

Jinja2 comes with the development tools; its template is the one of the peers' case html.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "shop"), str(HERE / "peers")]

from jinja2 import Environment  # noqa: E402
from shared import PAGE  # noqa: E402

from gen.pages import products  # noqa: E402
from gen.product import ProductRow  # noqa: E402

TEMPLATE = Environment(autoescape=True).from_string(PAGE)
NOW = datetime(2030, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)  # as now() gives it
ROWS = [
    ProductRow(
        UUID(int=n), f"Product <{n}> & more", n, "active", 1, NOW - timedelta(minutes=n), NOW
    )
    for n in range(25)
]
GOAL, TURNS, TIMES = 0.25, 31, 200


def ours() -> str:
    """The page of http/shop."""
    return products.render(rows=ROWS, total=500)


def theirs() -> str:
    """The same by Jinja2."""
    return TEMPLATE.render(rows=ROWS, total=500)


def seconds(render: Callable[[], str]) -> float:
    """CPU time of one page."""
    before = time.process_time()
    for _ in range(TIMES):
        render()
    return (time.process_time() - before) / TIMES


def main() -> None:
    """Compare, print, and write JSON where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    assert ours().count("<tr") == theirs().count("<tr") == 26
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(TURNS)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    mine, other = (statistics.median(side) * 1e6 for side in zip(*pairs))
    print(
        f"page of 25 rows: ours {mine:.1f} µs, Jinja2 {other:.1f} µs: {ratio:.2f}x (goal {GOAL}x)"
    )
    if arguments.json:
        found = {"ours_us": mine, "jinja2_us": other, "ratio": ratio, "goal": GOAL}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
