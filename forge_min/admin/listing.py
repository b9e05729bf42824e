"""The answers of processes as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .inside import Told


def head(name: str, pid: int) -> str:
    """Which process what follows is of."""
    return f"process {name} (pid {pid})"


def silent(names: Sequence[str], told: Mapping[str, Told]) -> list[str]:
    """A line for each process that was asked and has not answered."""
    return [f"process {name}: no answer" for name in names if name not in told]


def trace_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Of "trace"."""
    yield f"heap tracing is {'on' if told['tracing'] else 'off'}"


def heap_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Of "heap"."""
    if "top" not in told:
        yield f"{told['allocated_blocks']} blocks are allocated; where is not traced"
        yield "?seconds=5 traces for so long; POST action=start traces until action=stop"
        return
    yield (
        f"{_bytes(told['traced_bytes'])} traced, {_bytes(told['traced_peak_bytes'])} at most;"
        f" tracing costs {_bytes(told['tracing_costs_bytes'])}"
    )
    if "changed" in told:
        yield f"\nchanged in the last {told['changed_in_seconds']:g} s"
        yield from _sizes(told["changed"], signed=True)
    yield "\nheld now"
    yield from _sizes(told["top"])


def _sizes(rows: Sequence[Mapping[str, Any]], signed: bool = False) -> Iterator[str]:
    sign = "+" if signed else ""
    for row in rows:
        yield f"{row['bytes']:{sign}14,} B {row['blocks']:{sign}9,} blocks  {row['where']}"


def gc_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Of "gc"."""
    state = "on" if told["enabled"] else "off"
    yield f"{state}; thresholds {told['thresholds']}, counts {told['counts']}"
    for number, row in enumerate(told["generations"]):
        yield f"generation {number}: " + ", ".join(f"{n} {v}" for n, v in row.items())
    yield ", ".join(f"{n} {told[n]:,}" for n in ("objects", "frozen", "uncollectable"))
    yield "" if told["counted_every"] == 1 else f"\nof every {told['counted_every']}th object:"
    for row in told["types"]:
        yield f"{row['objects']:12,}  {row['type']}"


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} GiB"
