"""The sampling profiler: looks at every thread's stack so many times a second, and counts them.

It runs on the thread that asks, and leaves that one out. It has to wait for the GIL as any thread
does, so a burst of work that ends within a tenth of a millisecond may go by unseen.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal, NamedTuple

from ...lazy import lazy_pattern

Wait = Callable[[float], object]
"""Waits so many seconds; something true, and at once, when nobody wants the answer any more."""

Clock = Literal["cpu", "wall"]
Stack = tuple[str, ...]
"""The thread's name, then its frames, the innermost last."""

Place = tuple[CodeType, int]
"""Where in a thread's innermost frame it is."""

# Of the collapsed format ";" parts frames, a space the count, a line end the stacks.
_PARTS = lazy_pattern(r"[\s;\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 300  # characters of a name
_DEEPEST = 256  # frames of a stack; of a deeper one the middle is left out
_ASK = 0.0001  # seconds
_GLANCE = 0.0005  # seconds between two looks that tell who rests
_SURE = 2  # times that a thread was seen to rest somewhere, before others count as resting there
# How threading begins a thread: the same below each name, so it says nothing.
_STARTS = frozenset(
    getattr(threading.Thread, name).__code__ for name in ("_bootstrap", "_bootstrap_inner", "run")
)
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
    counter = _Processor(hz) if clock == "cpu" and _Processor.known() else _Wall(hz)
    started = time.monotonic()
    seen = 0  # ticks, those included that came while another thread had the GIL
    with _asking_often():
        while (now := time.monotonic() - started) < seconds:
            due = int(now * hz)
            counter.look(due - seen)
            seen = due
            if wait(max(0.0, (due + 1) / hz - (time.monotonic() - started))):
                break
    counter.end()
    return Profile(counter.counts, time.monotonic() - started, hz, counter.name)


@contextmanager
def _asking_often() -> Iterator[None]:
    """Have who holds the GIL asked for it sooner than after five milliseconds: most work is over
    by then, and every stack would be seen where its thread waits.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _ASK))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _Labels:
    """Code objects → names of frames, `wsgi/server/core.py:Core.work`. For one profile: it keeps
    the code alive, so that no id comes to mean another.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[CodeType, str]] = {}

    def of(self, code: CodeType) -> str:
        """The name of a frame that runs this code."""
        found = self._known.get(id(code))
        if found is None:
            label = safe(f"{file_name(code.co_filename)}:{code.co_qualname}")
            found = self._known[id(code)] = code, label
        return found[1]


class _Wall:
    """Every thread counts at every tick."""

    name: Clock = "wall"

    def __init__(self, hz: int) -> None:
        self.counts: dict[Stack, int] = {}
        self._tick = 1 / hz
        self._labels = _Labels()

    def look(self, ticks: int) -> None:
        """Count for so many ticks that are over."""
        threads = _others()
        for ident, frame in sys._current_frames().items():
            if ident in threads:
                self._count(threads[ident], _frames(frame, self._labels), ticks)

    def end(self) -> None:
        """Nothing more will be seen."""

    def _count(self, thread: threading.Thread, frames: list[str], ticks: int) -> None:
        stack: Stack = safe(thread.name), *frames
        if stack not in self.counts and len(self.counts) >= _MOST:
            stack = stack[0], "..."
        if ticks:
            self.counts[stack] = self.counts.get(stack, 0) + ticks


class _Processor(_Wall):
    """A thread counts for each tick of processor time that it had. Where it is seen to wait it had
    none: that is kept until it is seen somewhere else.
    """

    name: Clock = "cpu"

    def __init__(self, hz: int) -> None:
        super().__init__(hz)
        self._counted: dict[threading.Thread, float] = {}  # seconds that count already
        self._rested: Counter[Place] = Counter()  # how often a thread was seen to rest there

    @staticmethod
    def known() -> bool:
        """Whether this system tells."""
        return _processor_time(threading.current_thread()) is not None

    def look(self, ticks: int) -> None:
        """As of `_Wall`; by the threads' own clocks in place of `ticks`."""
        threads, before = _others(), self._times()
        frames = {t: f for i, f in sys._current_frames().items() if (t := threads.get(i))}
        places = _places(frames)
        for thread, place in places.items():
            had = before.get(thread, 0.0) - self._counted.get(thread, 0.0)
            if had >= self._tick and self._rested[place] < _SURE:
                self._count_time(thread, _frames(frames[thread], self._labels), had)
        time.sleep(_GLANCE)
        frames = {t: f for i, f in sys._current_frames().items() if (t := threads.get(i))}
        for thread, place in _places(frames).items():
            if places.get(thread) == place and self._rested[place] < _SURE:
                self._rested[place] += _rests(thread, before.get(thread))

    def end(self) -> None:
        """What is left over is shown as what it is."""
        for thread, at in self._times().items():
            self._count_time(thread, ["(too_short_to_be_seen)"], at - self._counted[thread])

    def _times(self) -> dict[threading.Thread, float]:
        """The clock of each thread. From the first time that it is seen it counts."""
        times = {thread: _processor_time(thread) for thread in _others().values()}
        known = {thread: at for thread, at in times.items() if at is not None}
        self._counted = {thread: self._counted.get(thread, at) for thread, at in known.items()}
        return known

    def _count_time(self, thread: threading.Thread, frames: list[str], seconds: float) -> None:
        ticks = int(seconds / self._tick)
        self._counted[thread] += ticks * self._tick
        self._count(thread, frames, ticks)


def _places(frames: Mapping[threading.Thread, FrameType]) -> dict[threading.Thread, Place]:
    return {thread: (frame.f_code, frame.f_lasti) for thread, frame in frames.items()}


def _rests(thread: threading.Thread, since: float | None) -> bool:
    """Whether it has not run since its clock stood there, and did not want to (proc(5), stat). Who
    waits for the GIL looks after it all the time, and so runs.
    """
    if since is None or _processor_time(thread) != since:
        return False
    try:
        told = Path(f"/proc/self/task/{thread.native_id}/stat").read_bytes()
    except OSError:
        return True
    return told.rpartition(b") ")[2][:1] == b"S"


def _others() -> dict[int | None, threading.Thread]:
    return {t.ident: t for t in threading.enumerate() if t.ident != threading.get_ident()}


def _processor_time(thread: threading.Thread) -> float | None:
    """Seconds that it had a processor for; None where nobody knows, or it is no more.

    The clock's number is made as glibc's pthread_getcpuclockid(3) makes it. SAFETY: that itself,
    given a thread that has ended, may crash the process; the kernel says EINVAL.
    """
    if sys.platform != "linux" or thread.native_id is None:
        return None
    try:
        return time.clock_gettime(~thread.native_id << 3 | 6)
    except (OSError, OverflowError):
        return None


def _frames(innermost: FrameType | None, labels: _Labels) -> list[str]:
    codes = []
    while innermost is not None:
        codes.append(innermost.f_code)
        innermost = innermost.f_back
    while codes and codes[-1] in _STARTS:
        codes.pop()
    found = [labels.of(code) for code in reversed(codes)]
    if len(found) > _DEEPEST:
        half = _DEEPEST // 2
        found[half:-half] = ["..."]
    return found


def merge_profiles(profiles: Mapping[str, Profile]) -> Profile:
    """Profiles of several processes as one, each stack below its process's name."""
    counts = {
        (safe(f"process {name}"), *stack): count
        for name, profile in profiles.items()
        for stack, count in profile.counts.items()
    }
    first = next(iter(profiles.values()))
    return first._replace(counts=counts, seconds=max(p.seconds for p in profiles.values()))


def format_collapsed(profile: Profile) -> str:
    """One line a stack, `thread;outer;inner 42`, as stackcollapse writes it
    (https://github.com/brendangregg/FlameGraph#2-fold-stacks), sorted.
    """
    return "".join(f"{';'.join(s)} {n}\n" for s, n in sorted(profile.counts.items()))


def safe(name: str) -> str:
    """The name as one frame of a collapsed stack: at most 300 characters, never empty."""
    return _PARTS.sub("_", name[:_LONGEST]) or "_"


def file_name(path: str) -> str:
    """A file as it is imported: without the folder, or the zip, of sys.path that holds it."""
    holders = [f for f in sys.path if f and path.startswith(f.rstrip("/") + "/")]
    return path[len(max(holders, key=len).rstrip("/")) + 1 :] if holders else path
