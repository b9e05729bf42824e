"""The last traces as trees: whole, bounded, and in words that a person reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from forge_min import observe
from forge_min.observe import Telemetry, span
from forge_min.observe.recent import Tree


@pytest.fixture
def told() -> list[Tree]:
    return []


@pytest.fixture
def telemetry(told: list[Tree]) -> Iterator[Telemetry]:
    made = observe.setup("shop", told=told.append)
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
    for _ in range(1000):  # children of roots that never end here
        root = span("root")
        root.__enter__()
        with span("child"):
            pass
        observe.tracing.current.set(None)
    assert len(telemetry.recent._open) <= 200


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
