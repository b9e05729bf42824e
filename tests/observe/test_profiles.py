"""Profiles of this process, taken while threads of known behaviour run."""

from __future__ import annotations

import gc
import hashlib
import pickle
import py_compile
import re
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min.observe import Inspection, Inspector, Profile, format_collapsed, merge_profiles
from forge_min.observe.profiles import sampling
from forge_min.observe.profiles.sampling import safe, sample

HOSTILE = 'a;b c\nd\x00"<script>&\ud800'
pause = threading.Event().wait  # as of a question that somebody waits for


@contextmanager
def running(*works: tuple[str, Callable[[threading.Event], object]]) -> Iterator[None]:
    """Threads by name; each work ends soon after its event is set."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=[stop], name=name) for name, work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def burn(stop: threading.Event) -> None:
    while not stop.is_set():
        spin(2000)


def spin(times: int) -> int:
    total = 0
    for number in range(times):
        total += number * number
    return total


def digest(stop: threading.Event) -> None:
    block = b"x" * 5_000_000
    while not stop.is_set():
        hashlib.sha256(block)


def serve(stop: threading.Event) -> None:
    """As a worker thread does: some milliseconds of work, then it waits for the next."""
    while not stop.is_set():
        spin(100_000)
        time.sleep(0.01)


def rest(stop: threading.Event) -> None:
    stop.wait()


def of_thread(profile: Profile, name: str) -> Counter[str]:
    """The innermost functions of one thread → samples."""
    found: Counter[str] = Counter()
    for stack, count in profile.items():
        if stack[0] == name:
            found[stack[-1].rpartition(":")[2]] += count
    return found


def test_processor_time_is_counted_where_it_is_had_with_and_without_the_gil() -> None:
    with running(("burner", burn), ("digester", digest), ("rester", rest)):
        begun = time.monotonic()
        profile = sample(1.0, 100, "cpu", pause)
        seconds = time.monotonic() - begun
    burnt, digested = of_thread(profile, "burner"), of_thread(profile, "digester")
    assert burnt["spin"] + burnt["burn"] >= 10 and digested["digest"] >= 10
    assert not of_thread(profile, "rester")
    total = sum(profile.values())
    assert total <= 100 * seconds * 4, "no more than processors can give"
    (stack,) = {s for s in profile if s[0] == "burner" and s[-1].endswith(":spin")}
    assert [part.rpartition(":")[2] for part in stack] == ["burner", "burn", "spin"]


@pytest.mark.thorough
@pytest.mark.alone
def test_work_in_bursts_is_counted_where_it_is_done_and_not_where_the_thread_waits() -> None:
    with running(("worker", serve)):
        profile = sample(3.0, 100, "cpu", pause)
    seen = of_thread(profile, "worker")
    # How many bursts are over before the sampler's turn comes is the scheduler's to say.
    assert seen["spin"] > 5 * max(seen["serve"], 1)


def test_by_the_clock_on_the_wall_who_waits_counts_as_well() -> None:
    begun = time.monotonic()
    with running(("rester", rest)):
        profile = sample(0.5, 100, "wall", pause)
    seconds = time.monotonic() - begun
    (count,) = of_thread(profile, "rester").values()
    assert 40 <= count <= 100 * seconds and seconds >= 0.5


def test_the_sampler_leaves_itself_out_and_puts_the_interpreter_back() -> None:
    before = sys.getswitchinterval()
    me = threading.current_thread().name
    with running(("burner", burn)):
        profile = sample(0.3, 1000, "wall", pause)
    assert profile and me not in {stack[0] for stack in profile}
    assert sys.getswitchinterval() == before

    def fails(seconds: float) -> bool:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        sample(1.0, 100, "cpu", fails)
    assert sys.getswitchinterval() == before


def test_a_profile_that_nobody_wants_any_more_ends_at_once() -> None:
    gone = threading.Event()
    gone.set()
    begun = time.monotonic()
    sample(60.0, 1, "wall", gone.wait)
    assert time.monotonic() - begun < 50


def test_a_deep_stack_loses_its_middle() -> None:
    def dive(stop: threading.Event, left: int = 600) -> None:
        if left:
            dive(stop, left - 1)
        else:
            stop.wait()

    with running(("diver", dive)):
        profile = sample(0.2, 50, "wall", pause)
    (stack,) = (s for s in profile if s[0] == "diver")
    assert len(stack) == 258 and stack.count("...") == 1 and stack[-1].endswith("wait")


def test_more_stacks_than_there_is_room_for_count_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling, "_MOST", 2)
    with running(*((f"rester {n}", rest) for n in range(5))):
        profile = sample(0.2, 50, "wall", pause)
    assert len([s for s in profile if s[1:] != ("...",)]) == 2
    assert any(s[1:] == ("...",) for s in profile)


def test_collapsed_stacks_have_one_line_each_whatever_names_hold() -> None:
    with running((HOSTILE, rest)):
        profile = sample(0.2, 50, "wall", pause)
    lines = format_collapsed(profile).splitlines()
    assert len(lines) == len(profile)
    for line in lines:
        assert re.fullmatch(r"[^\s;]+(;[^\s;]+)* [1-9][0-9]*", line), line
    (mine,) = (line for line in lines if line.startswith("a_b_c_d_"))
    assert mine.split(";")[1].endswith(":rest")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a;b c", "a_b_c"),
        ("", "_"),
        ("\n\u2028\x85\xa0", "____"),
        ("é<", "é<"),
        ("x" * 999, "x" * 300),
    ],
)
def test_a_name_is_made_safe(name: str, shown: str) -> None:
    assert safe(name) == shown


def test_profiles_of_processes_are_put_below_their_names() -> None:
    both = merge_profiles({"1": {("t", "f"): 2}, "2": {("t", "f"): 3}})
    assert both == {("process_1", "t", "f"): 2, ("process_2", "t", "f"): 3}


# -- memory ----------------------------------------------------------------------------------------


def ask(inspector: Inspector, what: str, **options: Any) -> Any:
    """As another process would: questions and answers are pickled."""
    question = pickle.loads(pickle.dumps(Inspection(what, options)))
    return pickle.loads(pickle.dumps(inspector.inspect(question, pause)))


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    assert not tracemalloc.is_tracing()
    yield Inspector()
    tracemalloc.stop()


def test_memory_is_not_traced_until_somebody_asks(inspector: Inspector) -> None:
    told = ask(inspector, "heap", seconds=0, top=5)
    assert told["tracing"] is False and told["allocated_blocks"] > 1000 and "top" not in told
    assert ask(inspector, "trace", on=True) == {"tracing": True}
    held = [bytes(1000) for _ in range(500)]
    first = ask(inspector, "heap", seconds=0, top=5)
    line = first["top"][0]
    assert "test_profiles.py:" in line["where"] and line["bytes"] > 500_000
    assert line["blocks"] >= 500
    del held[100:]
    second = ask(inspector, "heap", seconds=0, top=5)
    (left,) = (row for row in second["top"] if row["where"] == line["where"])
    assert left["bytes"] < 200_000 and left["blocks"] < 200
    assert set(second) == set(first) and "changed" not in first
    assert ask(inspector, "trace", on=False) == {"tracing": False}
    assert not tracemalloc.is_tracing()


def test_what_some_seconds_leave_behind_is_shown_and_then_nothing_is_traced(
    inspector: Inspector,
) -> None:
    held = []

    def waits(seconds: float) -> bool:
        held.extend(bytes(2000) for _ in range(300))
        return False

    told = inspector.inspect(Inspection("heap", {"seconds": 5, "top": 3}), waits)
    assert "test_profiles.py:" in told["top"][0]["where"]
    assert told["top"][0]["bytes"] > 600_000 and len(told["top"]) <= 3
    assert not tracemalloc.is_tracing() and len(held) == 300
    tracemalloc.start()
    told = inspector.inspect(Inspection("heap", {"seconds": 1, "top": 3}), waits)
    assert told["top"][0]["bytes"] > 600_000
    assert tracemalloc.is_tracing(), "somebody else's goes on"


LOOKS = """
import sys
from forge_min.observe import Inspector, Inspection
inspector, held = Inspector(), []
inspector.inspect(Inspection("trace", {"on": True}), None)
for _ in range(3):
    held.append([bytes(1000) for _ in range(100)])
    told = inspector.inspect(Inspection("heap", {"seconds": 0, "top": 10_000}), None)
print(sys.modules["forge_min"].__file__)
print(*(row["where"] for row in told["top"]), sep="\\n")
"""


@pytest.mark.parametrize("zipped", [False, True])
def test_a_heap_does_not_tell_of_who_looks_at_it_in_an_artifact_either(
    zipped: bool, tmp_path: Path
) -> None:
    root = Path(forge_min.__file__).parent
    place = root.parent
    if zipped:  # as an artifact: compiled, by names that are no paths of files
        place = tmp_path / "a.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for file in [*root.glob("*.py"), *root.glob("observe/**/*.py")]:
                name = file.relative_to(root.parent).as_posix()
                py_compile.compile(str(file), str(tmp_path / "c"), name, doraise=True)
                archive.write(tmp_path / "c", f"{name}c")
    code = f"import sys; sys.path.insert(0, {str(place)!r})\n{LOOKS}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded, *seen = done.stdout.split("\n")
    assert loaded.startswith(f"{place}/") and "<string>:7" in seen
    assert not [where for where in seen if "tracemalloc" in where or "/profiles/" in where]


class Kept:
    """Something to find."""


class Lying(type):
    """A metaclass that may not be asked."""

    def __getattribute__(cls, name: str) -> object:
        raise RuntimeError(f"asked for {name}")


class Odd(metaclass=Lying):
    """Of which there are many."""


def test_the_collector_tells_of_itself_and_of_the_types_that_there_are_most_of(
    inspector: Inspector,
) -> None:
    held: list[object] = [Kept() for _ in range(30_000)]
    held += [Odd() for _ in range(30_000)]
    before = threading.active_count()
    told = ask(inspector, "gc", top=200)
    counted = {row["type"]: row["objects"] for row in told["types"]}
    named = f"{Kept.__module__}.Kept"
    assert counted[named] == pytest.approx(30_000, rel=0.05)
    assert counted[f"{__name__}.Odd"] == pytest.approx(30_000, rel=0.05)
    assert told["enabled"] is gc.isenabled() and len(told["generations"]) == 3
    assert told["objects"] >= len(held) and threading.active_count() == before


def test_the_stacks_of_threads_are_told_by_name(inspector: Inspector) -> None:
    with running(("rester", rest)):
        text = ask(inspector, "threads")
    assert 'Thread "rester"' in text and "in rest" in text


def test_two_profiles_at_once_leave_the_interpreter_as_it_was(inspector: Inspector) -> None:
    before = sys.getswitchinterval()
    question = Inspection("profile", {"seconds": 0.2, "hz": 100, "clock": "wall"})
    found: list[Profile] = []
    threads = [
        threading.Thread(target=lambda: found.append(inspector.inspect(question, pause)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and sys.getswitchinterval() == before
