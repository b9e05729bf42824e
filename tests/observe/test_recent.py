"""The last traces as trees: whole, bounded, and in words that a person reads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from forge_min import observe
from forge_min.observe import Telemetry, span
from forge_min.observe.recent_traces import Tree


@pytest.fixture
def told() -> list[Tree]:
    return []


@pytest.fixture
def telemetry(told: list[Tree]) -> Iterator[Telemetry]:
    made = observe.setup("shop", on_trace=told.append)
    yield made
    made.shutdown()


def test_a_request_is_a_tree_in_the_order_of_its_starts(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    with span("GET /flights", kind="server"):
        with span("SELECT", attributes={"db.query.text": "select 1\n  from flights"}):
            pass
        with span("render"):
            with span("SELECT", attributes={"db.query.text": "select 2"}):
                pass
    (tree,) = told
    assert [(b.depth, b.name) for b in tree.branches] == [
        (0, "GET /flights"),
        (1, "SELECT"),
        (1, "render"),
        (2, "SELECT"),
    ]
    assert telemetry.recent.trees() == [tree]
    lines = str(tree).splitlines()
    assert lines[0].startswith("trace ") and len(lines) == 5
    assert lines[2].endswith("select 1 from flights") and "ms" in lines[2]


def test_an_error_is_marked_and_told_without_its_secrets(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    with pytest.raises(ValueError):
        with span("job SendWelcome", kind="consumer"):
            raise ValueError("cannot reach postgresql://a:hunter2hunter2@b/c")
    (tree,) = told
    text = str(tree)
    assert tree.branches[0].failed and "ValueError" in text and "!" in text
    assert "hunter2" not in text


def test_what_a_client_sends_begins_no_line_on_the_console(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    hostile = "/x\x1b]0;title\x07\u202e\u2028\r\n2026-01-01 00:00:00.000 ERROR   root forged"
    with pytest.raises(ValueError), span("GET\n  forged", attributes={"url.path": hostile}):
        raise ValueError(f"no such thing: {hostile}\ntrace forged")
    (tree,) = told
    first, *lines = str(tree).split("\n")
    assert first == f"trace {tree.trace_id}" and all(map(str.isprintable, lines))
    assert len(lines) > 2 and "url.path" in tree.branches[0].attributes
    assert " ms  GET" in lines[0] and all(line.startswith("    | ") for line in lines[1:])


def test_a_job_that_continues_a_request_is_a_tree_of_its_own(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    with span("POST /airports", kind="server") as request:
        cause = request.traceparent
    with span("job FindNearest", kind="consumer", parent=cause):
        pass
    assert [tree.branches[0].name for tree in told] == ["POST /airports", "job FindNearest"]
    assert told[0].trace_id == told[1].trace_id


def test_memory_is_bounded_whatever_ends_or_does_not(telemetry: Telemetry) -> None:
    for n in range(200):
        with span(f"r{n}"):
            pass
    assert len(telemetry.recent.trees()) == 50
    assert telemetry.recent.trees()[0].branches[0].name == "r199"

    def never_ends() -> None:
        span("root").__enter__()
        with span("child"):
            pass

    for _ in range(1000):
        copy_context().run(never_ends)
    assert len(telemetry.recent._roots) <= 200 and len(telemetry.recent._by_span) <= 400


def test_two_requests_of_one_trace_at_once_are_two_trees(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    """As a browser, or another service, that asks twice under one traceparent."""
    cause, inside, done = f"00-{'ab' * 16}-{'cd' * 8}-01", threading.Barrier(2), threading.Event()

    def other() -> None:
        with span("B", kind="server", parent=cause), span("B.child"):
            inside.wait(20)
            done.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    with span("A", kind="server", parent=cause), span("A.child"):
        inside.wait(20)
    done.set()
    thread.join(20)
    trees = {tree.branches[0].name: [b.name for b in tree.branches] for tree in told}
    assert trees == {"A": ["A", "A.child"], "B": ["B", "B.child"]}


def test_a_long_job_holds_no_more_than_a_tree_shows(telemetry: Telemetry) -> None:
    with span("job"):
        for _ in range(20_000):
            with span("INSERT"):
                pass
        (growing,) = telemetry.recent._roots.values()
        assert len(growing.ended) < 500 and growing.left_out > 19_000
    (tree,) = telemetry.recent.trees()
    assert len(tree.branches) == 500 and tree.left_out == 19_501


def test_a_tree_of_thousands_of_spans_keeps_some_and_counts_the_rest(
    telemetry: Telemetry, told: list[Tree]
) -> None:
    with span("root"):
        for n in range(3000):
            with span(f"s{n}"):
                pass
    (tree,) = told
    assert len(tree.branches) == 500 and tree.left_out == 2501
    assert str(tree).endswith("and 2501 more")


def test_threads_that_end_traces_at_once_lose_none(telemetry: Telemetry, told: list[Tree]) -> None:
    def work() -> None:
        for _ in range(200):
            with span("root"):
                with span("child"):
                    pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(told) == 800 and {len(tree.branches) for tree in told} == {2}


INSIDE = """
import os, signal, sys, threading, time
from forge_min import observe
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
class Slow(SpanExporter):
    def export(self, spans):
        time.sleep(0.01)
        return SpanExportResult.SUCCESS
telemetry = observe.setup("shop", exporter=Slow(), on_trace=lambda tree: None)
sys.setswitchinterval(1e-5)
done = threading.Event()
def busy():
    while not done.is_set():
        with observe.span("busy"), observe.span("below"):
            pass
threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
for n in range(150):
    with observe.span("outer"):
        child = os.fork()
        if not child:
            signal.alarm(10)
    if not child:
        with trace.get_tracer("a library").start_as_current_span("by the API"):
            pass
        names = {branch.name for tree in telemetry.recent.trees() for branch in tree.branches}
        assert names <= {"by the API"}, "none of its parent's"
        assert telemetry.tracer_provider.force_flush() and not any(telemetry.dropped.values())
        telemetry.shutdown()
        with observe.span("unseen"):
            pass
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, n
done.set()
for thread in threads:
    thread.join()
assert telemetry.recent.trees()
telemetry.shutdown()
print("forked")
"""
FORKS = """
import os, signal, sys, threading
from forge_min import observe
telemetry = observe.setup("shop")
registry = observe.MetricRegistry()
counter = registry.counter("x_total", "x", ("label",))
sys.setswitchinterval(1e-5)
done = threading.Event()
def busy(thread):
    n = 0
    while not done.is_set():
        n += 1
        with observe.span("busy"):
            counter.labels(f"{thread} {n}").inc()
threads = [threading.Thread(target=busy, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
for n in range(40):
    child = os.fork()
    if not child:
        signal.alarm(10)
        for m in range(20):
            with observe.span("child"):
                counter.labels(f"child {m}").inc()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for thread in threads:
    thread.join()
print("forked")
"""


@pytest.mark.thorough
@pytest.mark.parametrize("script", [FORKS, INSIDE], ids=["beside", "inside of a span"])
def test_a_fork_while_spans_end_and_metrics_count_leaves_no_lock_held(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, timeout=120
    )
    assert done.stdout == b"forked\n", done.stderr.decode()[-2000:]
