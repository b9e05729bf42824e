"""One thread answers alone while that is quick, and never keeps others waiting."""

from __future__ import annotations

import errno
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forge_min.wsgi.server import poll_policy
from forge_min.wsgi.server.poll_policy import QUICK, TRIAL, PollPolicy

ME = threading.get_ident()


def answers(policy: PollPolicy, count: int, seconds: float = 0.0) -> None:
    for _ in range(count):
        policy.record_response(ME, time.perf_counter() - seconds)


def alone() -> PollPolicy:
    """A policy whose only poller is this thread."""
    policy = PollPolicy()
    until = time.monotonic() + 10
    while policy.sole_poller != ME:
        assert time.monotonic() < until
        answers(policy, 1)
    return policy


def test_many_quick_answers_make_one_thread_poll_alone():
    policy = alone()
    answers(policy, 10 * TRIAL)
    assert policy.sole_poller == ME


def test_slow_answers_bring_everybody_back_and_the_next_try_comes_later():
    policy = alone()
    answers(policy, TRIAL, 1.1 * QUICK)
    assert policy.sole_poller == 0
    answers(policy, TRIAL)
    assert policy.sole_poller == 0
    answers(policy, 2 * TRIAL)
    assert policy.sole_poller == ME


def test_a_time_from_before_the_count_is_not_taken_for_a_thousand_million_answers(monkeypatch):
    now = 1.0
    monkeypatch.setattr(poll_policy, "time", SimpleNamespace(perf_counter=lambda: now))
    policy = PollPolicy()
    policy.record_response(ME, now)
    policy._since = now + 0.01  # another thread, which looked later, was here first
    answers = TRIAL
    while policy._responses and (answers := answers - 1):
        policy.record_response(ME, now)
    assert policy._responses == 0 and 0 < policy._usual_rate < 1e6


def test_other_things_that_are_answered_faster_are_tried_soon(monkeypatch):
    now = 0.0
    monkeypatch.setattr(poll_policy, "time", SimpleNamespace(perf_counter=lambda: now))
    policy = PollPolicy()

    def until_tried(rate: float) -> int:
        """How many answers it takes, so many a second; the one that tries is too slow."""
        nonlocal now
        count = 0
        while policy.sole_poller != ME:
            now, count = now + 1 / rate, count + 1
            policy.record_response(ME, now)
        while policy.sole_poller:
            now += 2 * QUICK
            policy.record_response(ME, now - 2 * QUICK)
        return count

    for _ in range(12):
        later = until_tried(10_000)
    assert later > 16_000
    assert until_tried(40_000) < 1100
    for _ in range(12):
        later = until_tried(40_000)
    assert later > 16_000
    assert until_tried(10_000) > 16_000


def test_one_slow_answer_among_many_is_forgiven():
    def forgiven() -> bool:
        policy = alone()
        answers(policy, 20)
        answers(policy, 1, 20 * QUICK)
        answers(policy, 20)
        return policy.sole_poller == ME

    assert any(forgiven() for _ in range(5))  # others may take the processor meanwhile


def test_quick_answers_that_wait_for_somebody_bring_everybody_back():
    policy = alone()
    for _ in range(TRIAL):
        time.sleep(1e-6)  # as for a database
        policy.record_response(ME, time.perf_counter())
    assert policy.sole_poller == 0
    answers(policy, TRIAL)
    assert policy.sole_poller == 0  # the next try comes later


def test_waits_between_answers_are_forgiven():
    policy = alone()
    for _ in range(4 * TRIAL):
        policy.polls += 1
        time.sleep(1e-6)  # until somebody asks
        policy.record_response(ME, time.perf_counter())
    assert policy.sole_poller == ME


def test_answers_of_other_threads_do_not_count_against_the_one_that_is_alone():
    policy = alone()
    for _ in range(10 * TRIAL):
        policy.record_response(ME + 1, time.perf_counter() - 1)
    assert policy.sole_poller == ME


def test_resting_threads_come_back_when_one_is_stuck_or_has_nothing_to_do():
    policy = alone()
    back = threading.Barrier(4)

    def rest():
        policy.wait()
        back.wait(10)

    threads = [threading.Thread(target=rest) for _ in range(3)]
    for thread in threads:
        thread.start()
    back.wait(10)
    assert policy.sole_poller == 0
    for thread in threads:
        thread.join(10)


def test_a_handler_that_blocks_in_the_middle_of_quick_ones_holds_nobody_up(serve, connect):
    gate = threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/block":
            gate.wait(10)
        start_response("200 OK", [])
        return [b"x"]

    server = serve(app, threads=4)
    peer = connect(server)
    until = time.monotonic() + 10
    while not server._core._policy.sole_poller and time.monotonic() < until:
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        for _ in range(100):
            peer.answer()
    blocked = [connect(server).get("/block") for _ in range(3)]
    for _ in range(10):
        assert peer.get().answer().status == 200
    gate.set()
    assert [p.answer().status for p in blocked] == [200] * 3


class Workers:
    """Two workers that may be pinned, and a clock of their own."""

    def __init__(self, policy: PollPolicy) -> None:
        self.ids: list[int] = []
        self.todo: queue.Queue[Any] = queue.Queue()
        self.done: queue.Queue[Any] = queue.Queue()
        self.policy, self.pinning = policy, policy._pinning
        self.now = 100.0
        self.threads = [threading.Thread(target=self._live, args=(policy,)) for _ in range(2)]
        for thread in self.threads:
            thread.start()
        while len(self.ids) < 2:
            time.sleep(0.001)

    def _live(self, policy: PollPolicy) -> None:
        policy.join()
        self.ids.append(threading.get_native_id())
        while (do := self.todo.get()) is not None:
            self.done.put(do())
        policy.leave()

    def run(self, do: Callable[[], object]) -> object:
        """What `do` gives in one of the workers."""
        self.todo.put(do)
        return self.done.get(timeout=20)

    def end(self) -> None:
        for _ in self.threads:
            self.todo.put(None)
        for thread in self.threads:
            thread.join()

    def pinned(self) -> bool:
        """Whether the kernel keeps them on one processor, and no other thread."""
        assert placed() == (EVERYWHERE, os.SCHED_OTHER)
        sets = [os.sched_getaffinity(thread) for thread in self.ids]
        assert sets[0] == sets[1]
        assert len(sets[0]) == 1 or sets[0] == EVERYWHERE
        policy = os.SCHED_BATCH if len(sets[0]) == 1 else os.SCHED_OTHER
        assert {os.sched_getscheduler(thread) for thread in self.ids} == {policy}
        return len(sets[0]) == 1

    def answer(self, seconds: float, rate: Callable[[bool], float]) -> float:
        """Answers for so long, so many a second; the part of the time that they were together."""
        spent, until = 0.0, self.now + seconds
        while self.now < until:
            together = self.pinning.pinned
            self.now += 1 / rate(together)
            spent += together / rate(together)
            self.pinning.record_response(self.now)
        return spent / seconds


EVERYWHERE = os.sched_getaffinity(0)


def placed(thread: int = 0) -> tuple[set[int], int]:
    """Where a thread may run, and under which policy."""
    return os.sched_getaffinity(thread), os.sched_getscheduler(thread)


@pytest.fixture
def workers() -> Iterator[Workers]:
    if len(EVERYWHERE) < 2:
        pytest.skip("one processor: there is nothing to choose")
    made = Workers(PollPolicy(pin_threads=True))
    yield made
    made.end()


def test_workers_stay_together_where_that_answers_more(workers):
    workers.answer(2, lambda together: 1250 if together else 1000)
    assert workers.pinned()
    assert workers.answer(60, lambda together: 1250 if together else 1000) > 0.9


def test_workers_are_let_go_where_that_answers_as_much(workers):
    for gain in (0.5, 1.0, 1.05):
        workers.answer(2, lambda together, gain=gain: 1000 * (gain if together else 1.0))
        assert not workers.pinned()
        assert workers.answer(60, lambda together, gain=gain: 900 * gain) < 0.1


def test_what_was_good_for_one_load_is_not_kept_for_another(workers):
    workers.answer(4, lambda together: 2000 if together else 1000)
    assert workers.pinned()
    workers.answer(45, lambda together: 1000 if together else 2000)
    assert not workers.pinned()


def test_workers_are_let_go_when_few_ask(workers):
    workers.answer(4, lambda together: 2000 if together else 1000)
    workers.answer(2, lambda together: 100)
    assert not workers.pinned()
    workers.answer(4, lambda together: 2000 if together else 1000)
    workers.now += 100
    workers.answer(0.001, lambda together: 2000)
    assert not workers.pinned()


def test_workers_are_let_go_when_nobody_asks_any_more_or_one_is_alone(workers):
    workers.now = time.perf_counter() - 60  # a real time, which settle compares with
    for end in (workers.policy.unpin_if_idle, workers.pinning.unpin):
        workers.answer(4, lambda together: 2000 if together else 1000)
        assert workers.pinned()
        end()
        assert not workers.pinned()


def more_together(together: bool) -> float:
    return 1250 if together else 1000


def test_what_was_better_is_kept_over_a_pause(workers):
    workers.answer(4, more_together)
    for end in (workers.pinning.unpin, lambda: workers.pinning.unpin_if_idle(workers.now)):
        workers.now += 100
        end()
        assert not workers.pinned()
        assert workers.answer(0.5, more_together) > 0.8


def test_only_who_stays_alone_lets_the_others_go(workers):
    workers.now = time.perf_counter() - 60  # a real time, as the clock of the policy
    workers.answer(4, more_together)
    workers.pinning._until = time.perf_counter() + 60
    policy = workers.policy
    for _ in range(3):
        while policy.sole_poller != ME:
            answers(policy, 1)
        assert workers.pinned()
        answers(policy, TRIAL, 1.1 * QUICK)
        assert policy.sole_poller == 0 and workers.pinned()
    while policy.sole_poller != ME:
        answers(policy, 1)
    answers(policy, TRIAL)
    assert policy.sole_poller == ME and not workers.pinned()


def test_other_things_that_are_asked_for_are_tried_at_once(workers):
    workers.answer(60, lambda together: 4000 if together else 3000)
    assert workers.pinned()
    workers.answer(2.5, lambda together: 1000 if together else 1300)
    assert not workers.pinned()


def test_a_moment_in_which_the_machine_is_slow_decides_nothing(workers):
    workers.answer(2, lambda together: 1250 if together else 1000)
    slow = workers.now + 0.3
    stays = workers.answer(
        30, lambda together: (1250 if together else 1000) / (3 if workers.now < slow else 1)
    )
    assert stays > 0.9


def test_threads_that_come_at_the_same_time_do_not_judge_twice(workers):
    workers.answer(2, lambda together: 1000)
    for _ in range(3):
        workers.pinning._until = workers.now
        workers.pinning._since = workers.now  # another thread was here since
        workers.pinning.record_response(workers.now)
        workers.pinning.record_response(workers.now - 0.1)
    assert workers.answer(2, lambda together: 1000) < 1


def test_a_worker_that_leaves_is_not_moved_any_more(workers):
    workers.end()
    assert workers.pinning.threads == []


def test_a_worker_that_ended_does_not_matter(workers):
    workers.pinning.threads.insert(0, 2**22 + 1)  # no such thread
    workers.answer(4, lambda together: 2000 if together else 1000)
    assert workers.pinned()


def test_a_name_that_is_cut_in_the_middle_of_a_letter_ends_no_worker(workers):
    name = Path("/proc/thread-self/comm")
    before = name.read_bytes()
    name.write_bytes("abéééééééé".encode())  # the kernel keeps 15 bytes
    try:
        workers.answer(4, more_together)
    finally:
        name.write_bytes(before)
    assert workers.pinned()


def test_who_lets_go_of_itself_while_it_is_put_there_does_not_stay(workers):
    workers.answer(4, more_together)
    poll_policy._PINNED.pop(workers.ids[0])  # by itself, and then it was put there
    assert workers.pinned()
    workers.policy.end()
    assert not workers.pinned()


def test_workers_go_on_where_no_file_can_be_opened(workers, monkeypatch):
    def fail(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", fail)
    workers.answer(4, more_together)
    assert not workers.pinned()
    monkeypatch.undo()
    workers.answer(4, more_together)
    assert workers.pinned()


def test_nobody_is_kept_anywhere_after_the_end(workers):
    workers.answer(4, more_together)
    assert workers.pinned()
    workers.policy.end()
    assert not workers.pinned()


def test_workers_are_pinned_only_if_configured():
    assert PollPolicy()._pinning is None


def started_thread() -> tuple[set[int], int]:
    found: list[tuple[set[int], int]] = []
    thread = threading.Thread(target=lambda: found.append(placed()))
    thread.start()
    thread.join()
    return found[0]


def started_program() -> tuple[set[int], int]:
    code = "import os; print(os.sched_getscheduler(0), *os.sched_getaffinity(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    policy, *processors = map(int, done.stdout.split())
    return set(processors), policy


def started_by_a_shell() -> tuple[set[int], int]:
    code = "import os; os._exit(len(os.sched_getaffinity(0)) + 100 * os.sched_getscheduler(0))"
    status = os.waitstatus_to_exitcode(os.system(f"{sys.executable} -c '{code}'"))
    return (EVERYWHERE if status % 100 == len(EVERYWHERE) else set()), status // 100


SEEN = [started_thread] if sys.version_info >= (3, 12) else []  # before, Python tells of none


@pytest.mark.parametrize("start", [*SEEN, started_program, started_by_a_shell])
def test_what_a_worker_starts_may_run_everywhere(workers, start):
    workers.answer(4, lambda together: 2000 if together else 1000)
    assert workers.pinned()
    assert workers.run(start) == (EVERYWHERE, os.SCHED_OTHER)
    # The other workers stay, and this one comes back with the next trial.
    assert [len(os.sched_getaffinity(each)) for each in sorted(workers.ids)].count(1) >= 1
    workers.answer(15, lambda together: 2000 if together else 1000)
    assert workers.pinned()


@pytest.mark.parametrize("how", ["unpin_if_idle", "end"])
def test_a_thread_that_python_does_not_tell_of_is_let_go_soon(workers, how):
    gate, ids = threading.Event(), []

    def live() -> None:
        ids.append(threading.get_native_id())
        gate.wait(20)

    older = threading.Thread(target=live)
    older.start()
    workers.answer(4, lambda together: 2000 if together else 1000)
    assert workers.pinned()
    cage = os.sched_getaffinity(workers.ids[0])
    os.sched_setaffinity(ids[0], cage)  # somebody's own choice
    newer = threading.Thread(target=live)
    newer.start()
    while len(ids) < 2:
        time.sleep(0.001)
    os.sched_setaffinity(ids[1], cage)  # as it inherits it of a worker in a library
    os.sched_setscheduler(ids[1], os.SCHED_BATCH, os.sched_param(0))
    workers.pinning.unpin_if_idle(workers.now) if how == "unpin_if_idle" else workers.policy.end()
    assert [*map(placed, ids)] == [(cage, os.SCHED_OTHER), (EVERYWHERE, os.SCHED_OTHER)]
    assert workers.pinned() == (how == "unpin_if_idle")
    gate.set()
    older.join()
    newer.join()
