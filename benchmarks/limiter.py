"""What a place in the limiter costs: acquire + release in nanoseconds, on both twins.

    python benchmarks/limiter.py [--json FILE]

The peer is what one writes by hand: a dict of counts under a threading.Lock. One thread, then eight
that compete; medians of five rounds, twins interleaved. Goal: at most 250 ns compiled, one thread.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROUNDS = 5
TURNS = 100_000
GOAL = 250.0
TWINS = {"c": "forge_min._fanout", "python": "forge_min._fanout_py"}


class ByHand:
    """The peer: exact too, and no more than that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.total = 0
        self.users: dict[str, int] = defaultdict(int)

    def acquire(self, user: str) -> Plain:
        with self.lock:
            if self.total >= 5000 or self.users[user] >= 10:
                raise RuntimeError("full")
            self.total += 1
            self.users[user] += 1
        return Plain(self, user)


class Plain:
    """A place in it."""

    def __init__(self, owner: ByHand, user: str) -> None:
        self.owner = owner
        self.user = user

    def release(self) -> None:
        with self.owner.lock:
            self.owner.total -= 1
            self.owner.users[self.user] -= 1


def contenders() -> dict[str, Callable[[], object]]:
    """name → a call that makes a limiter."""
    found: dict[str, Callable[[], object]] = {"by hand": ByHand}
    for name, module in TWINS.items():
        try:
            twin = importlib.import_module(module)
        except ImportError:
            continue
        found[name] = lambda twin=twin: twin.Limiter(max_total=5000, max_per_user=10)  # type: ignore[misc]
    return found


def spin(limiter: object, user: str, turns: int) -> None:
    acquire = limiter.acquire  # type: ignore[attr-defined]
    for _ in range(turns):
        acquire(user).release()


def empty(turns: int) -> float:
    """Seconds of the loop itself."""
    began = time.perf_counter()
    for _ in range(turns):
        pass
    return time.perf_counter() - began


def cost(limiter: object, threads: int) -> float:
    """Nanoseconds of one acquire + release, the loop's own share taken off."""
    turns = TURNS // threads
    workers = [
        threading.Thread(target=spin, args=(limiter, f"user{n}", turns)) for n in range(threads)
    ]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    return (took - empty(TURNS)) / (turns * threads) * 1e9


def measure() -> dict[str, dict[str, float]]:
    """name → {"1": ns, "8": ns}."""
    makers = contenders()
    rounds: dict[str, dict[str, list[float]]] = {name: {"1": [], "8": []} for name in makers}
    for _ in range(ROUNDS):
        for name, make in makers.items():
            for threads in rounds[name]:
                rounds[name][threads].append(cost(make(), int(threads)))
    return {
        name: {threads: round(statistics.median(ns), 1) for threads, ns in of.items()}
        for name, of in rounds.items()
    }


def table(result: dict[str, dict[str, float]]) -> str:
    peer = result["by hand"]["1"]
    lines = [f"{'limiter':10} {'1 thread':>10} {'8 threads':>10} {'of by hand':>11}"]
    for name, of in result.items():
        ratio = f"{of['1'] / peer:.2f}x"
        lines.append(f"{name:10} {of['1']:>7.0f} ns {of['8']:>7.0f} ns {ratio:>11}")
    if "c" in result:
        verdict = "met" if result["c"]["1"] <= GOAL else "MISSED"
        lines.append(f"goal: c, 1 thread, at most {GOAL:.0f} ns: {verdict}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="a file for the figures as well")
    file = parser.parse_args().json
    result = measure()
    print(table(result))
    if file:
        file.write_text(json.dumps({"unit": "ns", "limiter": result}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
