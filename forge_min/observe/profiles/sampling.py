"""The sampling profiler: looks at every thread's stack so many times a second, and counts them.

It runs on the thread that asks, and leaves that one out. What it sees is as exact as the GIL lets
it be: it waits for that as any thread does, and then counts for the time that it has waited.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Literal, NamedTuple

from .names import Labels, safe

Wait = Callable[[float], object]
"""Waits so many seconds; something true, and at once, when nobody wants the answer any more."""

Clock = Literal["cpu", "wall"]
Stack = tuple[str, ...]
"""The thread's name, then its frames, the innermost last."""

_DEEPEST = 256  # frames of a stack; of a deeper one the middle is left out
_MOST = 20_000  # stacks; each further one counts as one of its thread's "..."


class Profile(NamedTuple):
    """What was seen. clock: "cpu" where a stack counts for each 1/hz s of processor time that its
    thread had, "wall" where it counts whatever the thread did. seconds: how long it took.
    """

    counts: Mapping[Stack, int]
    seconds: float
    hz: int
    clock: Clock


def sample(seconds: float, hz: int, clock: Clock, wait: Wait) -> Profile:
    """A profile of this process for so many seconds, or until `wait` says that none is wanted.

    clock: "cpu" becomes "wall" on systems that do not tell a thread's processor time (not Linux).
    """
    clocks = _Processor() if clock == "cpu" and _Processor.known() else _Wall()
    counts: dict[Stack, int] = {}
    labels = Labels()
    started = time.monotonic()
    seen = 0  # ticks, those included that came while another thread had the GIL
    while (now := time.monotonic() - started) < seconds:
        due = int(now * hz)
        _look(counts, labels, clocks, due - seen, 1 / hz)
        seen = due
        if wait(max(0.0, (due + 1) / hz - (time.monotonic() - started))):
            break
    return Profile(counts, time.monotonic() - started, hz, clocks.name)


class _Wall:
    """Every thread counts at every tick."""

    name: Clock = "wall"

    def ticks(
        self, threads: Iterable[threading.Thread], gone: int, length: float
    ) -> dict[int, int]:
        """ident → for how many ticks it counts, of the `gone` since the last look."""
        return {thread.ident or 0: gone for thread in threads}


class _Processor(_Wall):
    """A thread counts for each tick's length of processor time that it had; what is less is kept
    for the next look, so that short work counts as often as it must on average.
    """

    name: Clock = "cpu"

    def __init__(self) -> None:
        self._had: dict[int, float] = {}  # native id → seconds that have counted

    @staticmethod
    def known() -> bool:
        """Whether this system tells."""
        return _processor_time(threading.get_native_id()) is not None

    def ticks(
        self, threads: Iterable[threading.Thread], gone: int, length: float
    ) -> dict[int, int]:
        """As of `_Wall`."""
        found, had = {}, {}
        for thread in threads:
            native = thread.native_id or 0
            now = _processor_time(native)
            if now is None:
                continue
            before = self._had.get(native, now)
            count = int((now - before) / length)
            had[native] = before + count * length
            found[thread.ident or 0] = count
        self._had = had
        return found


def _processor_time(native: int) -> float | None:
    """Seconds that a thread of this process had a processor for; None where it is no more.

    The clock's number is made as glibc's pthread_getcpuclockid(3) makes it. SAFETY: that itself,
    given a thread that has ended, may crash the process; the kernel says EINVAL.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime(~native << 3 | 6)
    except (OSError, OverflowError):
        return None


def _look(
    counts: dict[Stack, int], labels: Labels, clocks: _Wall, gone: int, length: float
) -> None:
    """One look at all threads but this one."""
    threads = {t.ident: t for t in threading.enumerate() if t.ident != threading.get_ident()}
    ticks = clocks.ticks(threads.values(), gone, length)
    frames = sys._current_frames()
    for ident, count in ticks.items():
        frame = frames.get(ident)
        if count and frame is not None:
            stack = safe(threads[ident].name), *_frames(frame, labels)
            if stack not in counts and len(counts) >= _MOST:
                stack = stack[0], "..."
            counts[stack] = counts.get(stack, 0) + count


def _frames(innermost: FrameType | None, labels: Labels) -> list[str]:
    found = []
    while innermost is not None:
        found.append(labels.of(innermost.f_code))
        innermost = innermost.f_back
    found.reverse()
    if len(found) > _DEEPEST:
        half = _DEEPEST // 2
        found[half:-half] = ["..."]
    return found


def merged(profiles: Mapping[str, Profile]) -> Profile:
    """Profiles of several processes as one, each stack below its process's name."""
    counts = {
        (safe(f"process {name}"), *stack): count
        for name, profile in profiles.items()
        for stack, count in profile.counts.items()
    }
    first = next(iter(profiles.values()))
    return first._replace(counts=counts, seconds=max(p.seconds for p in profiles.values()))


def collapsed(profile: Profile) -> str:
    """One line a stack, `thread;outer;inner 42`, as stackcollapse writes it
    (https://github.com/brendangregg/FlameGraph#2-fold-stacks), sorted.
    """
    return "".join(f"{';'.join(s)} {n}\n" for s, n in sorted(profile.counts.items()))
