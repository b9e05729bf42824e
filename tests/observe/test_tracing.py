"""Spans: who is whose parent, who decides about sampling, what is recorded."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from forge_min import observe
from forge_min.observe import current_traceparent, span
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

Spans = Callable[[], Sequence[ReadableSpan]]
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = SAMPLED[:-1] + "0"


def test_outside_of_a_span_there_is_no_traceparent() -> None:
    assert current_traceparent() is None


def test_without_setup_a_trace_goes_through_and_nothing_is_recorded() -> None:
    with span("in", parent=SAMPLED) as outer:
        assert not outer.recording
        assert outer.traceparent == current_traceparent() == SAMPLED
        with span("inner"):
            assert current_traceparent() == SAMPLED
    assert current_traceparent() is None


def test_without_setup_a_new_trace_has_an_id_and_flag_00() -> None:
    with span("job"):
        first = current_traceparent()
        assert first is not None and first.endswith("-00")
    with span("job"):
        assert current_traceparent() != first


def test_nested_spans_are_one_trace(spans: Spans) -> None:
    with span("outer", kind="server", attributes={"a": 1}) as outer:
        with span("inner") as inner:
            inner.set_attribute("b", True)
        assert current_traceparent() == outer.traceparent
    child, parent = spans()
    assert (child.name, parent.name) == ("inner", "outer")
    assert child.parent is not None and child.parent.span_id == parent.context.span_id
    assert child.context.trace_id == parent.context.trace_id
    assert parent.parent is None and parent.kind is SpanKind.SERVER
    assert dict(parent.attributes or {}) == {"a": 1}
    assert dict(child.attributes or {}) == {"b": True}
    assert parent.resource.attributes["service.name"] == "tests"


def test_a_remote_parent_is_continued(spans: Spans) -> None:
    with span("in", kind="consumer", parent=SAMPLED):
        out = current_traceparent()
    (made,) = spans()
    assert made.parent is not None and made.parent.is_remote
    assert f"{made.context.trace_id:032x}" == SAMPLED[3:35]
    assert f"{made.parent.span_id:016x}" == SAMPLED[36:52]
    assert out == f"00-{SAMPLED[3:35]}-{made.context.span_id:016x}-01"


def test_an_invalid_parent_begins_a_new_trace_even_inside_a_span(spans: Spans) -> None:
    with span("outer"):
        with span("in", parent="nonsense"):
            pass
    inner, outer = spans()
    assert inner.parent is None
    assert inner.context.trace_id != outer.context.trace_id


def test_the_caller_decides_about_sampling(record: Callable[[float], Spans]) -> None:
    spans = record(1.0)
    with span("in", parent=UNSAMPLED) as outer, span("inner"):
        assert not outer.recording
        assert current_traceparent() == UNSAMPLED
    assert spans() == ()
    spans = record(0.0)
    with span("root"), span("inner"):
        assert (current_traceparent() or "").endswith("-00")
    with span("in", parent=SAMPLED), span("inner"):
        pass
    assert [made.name for made in spans()] == ["inner", "in"]


def test_the_ratio_decides_for_new_traces(record: Callable[[float], Spans]) -> None:
    spans = record(0.3)
    for _ in range(2000):
        with span("root"), span("inner"):
            pass
    made = spans()
    assert 450 < len(made) / 2 < 750
    assert len({m.context.trace_id for m in made}) == len(made) / 2


def test_an_exception_is_recorded_once_and_marks_every_span_it_passes(spans: Spans) -> None:
    with pytest.raises(ValueError), span("outer"), span("inner"):
        raise ValueError("secret of the row")
    inner, outer = spans()
    assert [len(made.events) for made in (inner, outer)] == [1, 0]
    assert inner.events[0].name == "exception"
    assert {made.status.status_code for made in (inner, outer)} == {StatusCode.ERROR}
    assert (outer.attributes or {})["error.type"] == "ValueError"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it cannot say why")


class Refuses(Exception):
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("frozen")


@pytest.mark.parametrize("kind", [Mute, Refuses])
def test_what_an_exceptions_class_raises_does_not_come_in_its_place(
    spans: Spans, kind: type[Exception]
) -> None:
    with pytest.raises(kind), span("outer"), span("inner"):
        raise kind("the reason")
    assert current_traceparent() is None
    inner, outer = spans()
    assert [event.name for event in inner.events] == ["exception"]
    assert {made.status.status_code for made in (inner, outer)} == {StatusCode.ERROR}


def test_an_exception_that_is_raised_again_is_recorded_again(spans: Spans) -> None:
    once = ValueError("kept by somebody")
    for name in ("first", "second"):
        with pytest.raises(ValueError), span(name), span(f"in {name}"):
            raise once
    with span("third"):
        for name in ("try", "again"):
            with suppress(ValueError), span(name):
                raise once
    with pytest.raises(ValueError), span("remote", parent=SAMPLED), span("in remote"):
        raise once
    recorded = [made.name for made in spans() if made.events]
    assert recorded == ["in first", "in second", "try", "again", "in remote"]


def test_an_exception_that_passes_a_librarys_span_is_recorded_by_none_of_ours_again(
    spans: Spans,
) -> None:
    tracer = observe.tracing._recorder.tracer_provider.get_tracer("library")
    with pytest.raises(ValueError), span("outer"):
        with tracer.start_as_current_span("theirs", record_exception=False), span("inner"):
            raise ValueError
    assert [made.name for made in spans() if made.events] == ["inner"]


def test_leaving_by_a_generators_end_is_no_error(spans: Spans) -> None:
    def body():
        with span("stream"):
            yield 1

    stream = body()
    next(stream)
    stream.close()
    (made,) = spans()
    assert made.status.status_code is StatusCode.UNSET and not made.events


def test_names_can_change_and_a_span_can_fail(spans: Spans) -> None:
    with span("GET") as active:
        active.update_name("GET /flights/{id}")
        active.fail("503")
    (made,) = spans()
    assert made.name == "GET /flights/{id}"
    assert (made.status.status_code, made.status.description) == (StatusCode.ERROR, "503")


def test_ended_spans_leave_nothing_to_the_garbage_collector(spans: Spans) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            with span("short"):
                pass
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_threads_do_not_see_each_others_spans(spans: Spans) -> None:
    seen: list[str | None] = []
    with span("here"):
        thread = threading.Thread(target=lambda: seen.append(current_traceparent()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_spans_of_the_opentelemetry_api_nest_in_ours_and_ours_in_them(spans: Spans) -> None:
    telemetry = observe.setup("tests", sample_ratio=0.0)
    tracer = telemetry.tracer_provider.get_tracer("library")
    with span("outer", parent=SAMPLED) as outer:
        with tracer.start_as_current_span("library") as theirs:
            with span("ours"):
                inside = trace.get_current_span().get_span_context()
                assert current_traceparent() == (
                    f"00-{inside.trace_id:032x}-{inside.span_id:016x}-01"
                )
        assert theirs.get_span_context().trace_id == int(SAMPLED[3:35], 16)
        assert outer.recording
    telemetry.shutdown()


def test_what_a_library_gives_its_spans_has_a_length_at_most() -> None:
    exporter = InMemorySpanExporter()
    telemetry = observe.setup("tests", exporter=exporter)
    tracer = telemetry.tracer_provider.get_tracer("library")
    with pytest.raises(ValueError), tracer.start_as_current_span("big") as made:
        made.set_attribute("a", "x" * 1_000_000)
        raise ValueError("y" * 1_000_000)
    telemetry.shutdown()
    (ended,) = exporter.get_finished_spans()
    given = [*(ended.attributes or {}).values(), *(ended.events[0].attributes or {}).values()]
    assert max(len(str(value)) for value in given) == 16_384


def test_an_unsampled_trace_stays_unsampled_for_other_tracers(
    record: Callable[[float], Spans],
) -> None:
    spans = record(1.0)
    telemetry = observe.tracing._recorder
    with span("in", parent=UNSAMPLED):
        with telemetry.tracer_provider.get_tracer("library").start_as_current_span("x") as theirs:
            assert not theirs.is_recording()
    assert spans() == ()


def test_shutdown_exports_the_rest_and_may_be_called_twice() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    telemetry = observe.setup("tests", sample_ratio=1.0, exporter=exporter)
    with span("last"):
        pass
    telemetry.shutdown()
    telemetry.shutdown()
    assert [made.name for made in exporter.get_finished_spans()] == ["last"]
    with span("after") as after:
        assert not after.recording


def test_a_span_that_outlives_the_shutdown_ends_quietly() -> None:
    telemetry = observe.setup("tests", sample_ratio=1.0)
    with span("long") as active:
        assert active.recording
        telemetry.shutdown()
        active.set_attribute("x", 1)
    assert current_traceparent() is None


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="sample_ratio"):
        observe.setup("tests", sample_ratio=ratio)


def test_the_package_loads_no_sdk_until_setup_is_asked_for() -> None:
    code = (
        "import sys\n"
        "from forge_min import observe\n"
        "with observe.span('x'): pass\n"
        "loaded = lambda: {m.partition('.')[0] for m in sys.modules}\n"
        "heavy = lambda: loaded() & {'opentelemetry', 'psycopg'}\n"
        "assert not heavy(), heavy()\n"
        "observe.setup('x', sample_ratio=0.0).shutdown()\n"
        "assert heavy()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
