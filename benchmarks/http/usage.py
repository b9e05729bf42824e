"""CPU time, memory and context switches of a process tree, and how busy the processors are.

Everything is read from /proc (proc(5)). A process or thread that has ended is left out.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SWITCHES = re.compile(r"^(non)?voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)


class Usage(NamedTuple):
    """What a process tree has used so far.

    cpu_seconds: user and system time.
    voluntary, involuntary: context switches of the threads that run now.
    """

    cpu_seconds: float
    voluntary: int
    involuntary: int


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: list[int] = []
    for task in tasks(pid):
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return [pid, *(item for child in children for item in tree(child))]


def tasks(pid: int) -> list[Path]:
    """Return the folders of the threads of one process."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def usage(pid: int) -> Usage:
    """Return what the process tree has used."""
    ticks, switches = 0, {"": 0, "non": 0}
    for item in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{item}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        for task in tasks(item):
            with suppress(OSError):
                for kind, count in SWITCHES.findall((task / "status").read_text()):
                    switches[kind] += int(count)
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), switches[""], switches["non"])


def threads(pid: int) -> int:
    """Return the number of threads of the process tree."""
    return sum(len(tasks(item)) for item in tree(pid))


def rss_mib(pid: int) -> float:
    """Return the resident memory of the process tree."""
    pages = 0
    for item in tree(pid):
        with suppress(OSError):
            pages += int(Path(f"/proc/{item}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib(pid: int) -> float:
    """Return the largest resident memory that the processes of the tree have had, in all."""
    peaks = 0
    for item in tree(pid):
        with suppress(OSError):
            status = Path(f"/proc/{item}/status").read_text()
            peaks += int(status.partition("VmHWM:")[2].split()[0])
    return peaks / 1024


def processor_times() -> list[tuple[int, int]]:
    """Return (idle, total) ticks of each processor that this process may use."""
    times = []
    allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in allowed:
            values = [int(field) for field in fields[:8]]  # the rest is part of user and nice
            times.append((values[3] + values[4], sum(values)))
    return times


def least_busy(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> float:
    """Return the busy share, 0 to 1, of the least busy processor between two `processor_times`."""
    return min(
        1 - (idle - idle_before) / max(total - total_before, 1)
        for (idle_before, total_before), (idle, total) in zip(before, after)
    )
