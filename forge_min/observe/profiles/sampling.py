"""The sampling profiler: reads every thread's stack many times per second, and counts stacks.

It runs on the calling thread, which it omits. It waits for the GIL as any thread does, so it may
miss a burst of work that ends within a tenth of a millisecond.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal

from ...lazy import lazy_pattern

Wait = Callable[[float], object]
"""Waits for the given seconds. Returns true, at once, when the result is no longer needed."""

Clock = Literal["cpu", "wall"]
Stack = tuple[str, ...]
"""The thread's name, then its frames, innermost last."""

Position = tuple[CodeType, int]
"""The current instruction of a thread's innermost frame."""

Profile = Mapping[Stack, int]
"""Samples by stack."""

# In the collapsed format ";" separates frames, a space the count, and a line end the stacks.
_SEPARATORS = lazy_pattern(r"[\s;\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 300  # characters of a name
_DEEPEST = 256  # frames of a stack; the middle of a deeper one is omitted
_SWITCH_INTERVAL = 0.0001  # seconds
_IDLE_CHECK = 0.0005  # seconds between the two readings that show whether a thread is idle
_SURE = 2  # idle sightings at a position before all threads count as idle there
# The frames of threading that start every thread: they are omitted.
_STARTS = frozenset(
    getattr(threading.Thread, name).__code__ for name in ("_bootstrap", "_bootstrap_inner", "run")
)
_MOST = 20_000  # stacks; a further one counts as the stack "..." of its thread


def sample(seconds: float, hz: int, clock: Clock, wait: Wait) -> Profile:
    """Profile this process for the given seconds, or until `wait` returns true.

    hz: samples per second.
    clock: "cpu" counts a stack per 1/hz s of its thread's processor time, "wall" per 1/hz s. "cpu"
        becomes "wall" on systems without processor time per thread (not Linux).
    """
    counter = _WallCounter(hz)
    if clock == "cpu" and _processor_time(threading.current_thread()) is not None:
        counter = _CPUCounter(hz)
    started = time.monotonic()
    last_tick = 0  # of ticks, including those missed while another thread held the GIL
    # Request the GIL from its holder sooner than after 5 ms. Most work ends within that time, and
    # every thread would be sampled while it waits.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(min(interval, _SWITCH_INTERVAL))
    try:
        elapsed = time.monotonic() - started
        while elapsed < seconds:
            tick = int(elapsed * hz)
            counter.sample(tick - last_tick)
            last_tick = tick
            elapsed = time.monotonic() - started
            if wait(max(0.0, (tick + 1) / hz - elapsed)):
                break
            elapsed = time.monotonic() - started
    finally:
        sys.setswitchinterval(interval)
    counter.finish()
    return counter.counts


class _WallCounter:
    """Counts every thread at every tick."""

    def __init__(self, hz: int) -> None:
        self.counts: dict[Stack, int] = {}
        self._tick = 1 / hz
        # By the id of a code object, which is kept alive here so that its id is not reused.
        self._names: dict[int, tuple[CodeType, str]] = {}

    def sample(self, ticks: int) -> None:
        """Count the current stacks for the ticks that have passed."""
        threads = _other_threads()
        for ident, frame in sys._current_frames().items():
            if ident in threads:
                self._count(threads[ident], self._frames(frame), ticks)

    def finish(self) -> None:
        """Count the rest after the last sample."""

    def _frames(self, innermost: FrameType | None) -> list[str]:
        codes = []
        while innermost is not None:
            codes.append(innermost.f_code)
            innermost = innermost.f_back
        while codes and codes[-1] in _STARTS:
            codes.pop()
        frames = [self._name(code) for code in reversed(codes)]
        if len(frames) > _DEEPEST:
            half = _DEEPEST // 2
            frames[half:-half] = ["..."]
        return frames

    def _name(self, code: CodeType) -> str:
        """Return the name of a frame that runs this code, as `wsgi/server/core.py:Core.work`."""
        entry = self._names.get(id(code))
        if entry is None:
            name = safe(f"{file_name(code.co_filename)}:{code.co_qualname}")
            entry = self._names[id(code)] = (code, name)
        return entry[1]

    def _count(self, thread: threading.Thread, frames: list[str], ticks: int) -> None:
        name = safe(thread.name)
        stack = (name, *frames)
        if stack not in self.counts and len(self.counts) >= _MOST:
            stack = (name, "...")
        if ticks:
            self.counts[stack] = self.counts.get(stack, 0) + ticks


class _CPUCounter(_WallCounter):
    """Counts a thread for each tick of its processor time.

    At a position where threads are idle, the time is counted at the thread's next position.
    """

    def __init__(self, hz: int) -> None:
        super().__init__(hz)
        self._counted: dict[threading.Thread, float] = {}  # seconds counted already
        self._idle: Counter[Position] = Counter()  # sightings of idle threads

    def sample(self, ticks: int) -> None:
        """Count the current stacks by the threads' own clocks; `ticks` is not used."""
        threads = _other_threads()
        before = self._times()
        readings = _readings(threads)
        for thread, (frame, position) in readings.items():
            used = before.get(thread, 0.0) - self._counted.get(thread, 0.0)
            if used >= self._tick and self._idle[position] < _SURE:
                self._count_time(thread, self._frames(frame), used)
        time.sleep(_IDLE_CHECK)
        for thread, reading in _readings(threads).items():
            position = reading[1]
            if readings.get(thread) == reading and self._idle[position] < _SURE:
                self._idle[position] += _is_idle(thread, before.get(thread))

    def finish(self) -> None:
        """Count the time of threads that no sample has seen running."""
        for thread, seconds in self._times().items():
            uncounted = seconds - self._counted[thread]
            self._count_time(thread, ["(too_short_to_be_seen)"], uncounted)

    def _times(self) -> dict[threading.Thread, float]:
        """Return the processor time of each thread; it counts from its first reading."""
        times = {}
        counted = {}
        for thread in _other_threads().values():
            seconds = _processor_time(thread)
            if seconds is not None:
                times[thread] = seconds
                counted[thread] = self._counted.get(thread, seconds)
        self._counted = counted
        return times

    def _count_time(self, thread: threading.Thread, frames: list[str], seconds: float) -> None:
        ticks = int(seconds / self._tick)
        self._counted[thread] += ticks * self._tick
        self._count(thread, frames, ticks)


def _readings(
    threads: Mapping[int | None, threading.Thread],
) -> dict[threading.Thread, tuple[FrameType, Position]]:
    readings = {}
    for ident, frame in sys._current_frames().items():
        if ident in threads:
            readings[threads[ident]] = (frame, (frame.f_code, frame.f_lasti))
    return readings


def _is_idle(thread: threading.Thread, since: float | None) -> bool:
    """Return whether a thread sleeps and has not run since its clock read `since`.

    A thread that waits for the GIL polls it, and therefore runs. Source: proc(5), stat.
    """
    if since is None or _processor_time(thread) != since:
        return False
    try:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b") ")[2][:1] == b"S"


def _other_threads() -> dict[int | None, threading.Thread]:
    this = threading.get_ident()
    return {thread.ident: thread for thread in threading.enumerate() if thread.ident != this}


def _processor_time(thread: threading.Thread) -> float | None:
    """Return the seconds of processor time of a thread; None if unknown, or if it has ended.

    The clock id is computed as in glibc's pthread_getcpuclockid(3). SAFETY: that function may crash
    the process for a thread that has ended; the kernel returns EINVAL.
    """
    if sys.platform != "linux" or thread.native_id is None:
        return None
    try:
        return time.clock_gettime(~thread.native_id << 3 | 6)
    except (OSError, OverflowError):
        return None


def merge_profiles(profiles: Mapping[str, Profile]) -> Profile:
    """Merge profiles of several processes, each stack below the name of its process."""
    result = {}
    for name, profile in profiles.items():
        process = safe(f"process {name}")
        for stack, count in profile.items():
            result[process, *stack] = count
    return result


def format_collapsed(profile: Profile) -> str:
    """Return a sorted line per stack, as `thread;outer;inner 42`.

    Source: stackcollapse (https://github.com/brendangregg/FlameGraph#2-fold-stacks).
    """
    return "".join(f"{';'.join(s)} {n}\n" for s, n in sorted(profile.items()))


def safe(name: str) -> str:
    """Return a name as one frame of a collapsed stack, with 1 to 300 characters."""
    return _SEPARATORS.sub("_", name[:_LONGEST]) or "_"


def file_name(path: str) -> str:
    """Return the path of a file relative to its folder or zip in sys.path."""
    roots = [f"{folder.rstrip('/')}/" for folder in sys.path if folder]
    roots = [root for root in roots if path.startswith(root)]
    return path.removeprefix(max(roots, key=len, default=""))
