"""Our spans are spans of OpenTelemetry's SDK, redacted and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from forge_min import observe
from forge_min.observe import Telemetry, current_traceparent, span
from forge_min.observe.otlp.exporter import encode_spans
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode


class Kept(SpanProcessor):
    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def telemetry(kept: Kept) -> Iterator[Telemetry]:
    made = observe.setup("shop")
    made.tracer_provider.add_span_processor(kept)
    yield made
    made.shutdown()


LINK = trace.SpanContext(7, 8, True)


def test_beyond_the_limits_it_counts(telemetry: Telemetry, kept: Kept) -> None:
    with span("x"):
        ours = trace.get_current_span()
        for n in range(200):
            ours.set_attribute(f"a{n}", n)
            ours.set_attribute("a0", n)
            ours.add_event(f"e{n}")
            ours.add_link(LINK)
    (one,) = kept.ended
    assert (len(one.attributes or {}), len(one.events), len(one.links)) == (128, 128, 128)
    assert (one.dropped_attributes, one.dropped_events, one.dropped_links) == (72, 72, 72)
    assert (one.attributes or {})["a0"] == 199


def test_spans_of_libraries_are_its_children_and_its_parents(
    telemetry: Telemetry, kept: Kept
) -> None:
    tracer = trace.get_tracer("library", tracer_provider=telemetry.tracer_provider)
    with span("outer"), tracer.start_as_current_span("between"), span("inner"):
        pass
    inner, between, outer = kept.ended
    assert inner.parent == between.get_span_context() and between.parent == outer.get_span_context()
    assert len({one.get_span_context().trace_id for one in kept.ended}) == 1  # type: ignore[union-attr]


def test_trace_context_comes_in_and_goes_out_whole(telemetry: Telemetry) -> None:
    came = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "vendor=1,other=x"}
    carrier: dict[str, str] = {}
    with span("x", parent=came["traceparent"], state=came["tracestate"]) as ours:
        propagate.inject(carrier)
        assert carrier["traceparent"] == ours.traceparent
    assert carrier["tracestate"] == came["tracestate"]
    assert carrier["traceparent"].split("-")[1] == "ab" * 16


@pytest.mark.parametrize("flags", ["01", "00"])
def test_a_span_inside_of_a_librarys_is_of_its_trace(
    telemetry: Telemetry, kept: Kept, flags: str
) -> None:
    tracer = trace.get_tracer("library", tracer_provider=telemetry.tracer_provider)
    came = propagate.extract({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-{flags}"})
    with tracer.start_as_current_span("library", came) as outer:
        mine = outer.get_span_context()
        assert current_traceparent() == f"00-{'ab' * 16}-{mine.span_id:016x}-{flags}"
        with span("inner") as inner:
            assert str(inner.traceparent).startswith(f"00-{'ab' * 16}-")
    assert current_traceparent() is None
    parents = [one.parent for one in kept.ended if one.name == "inner"]
    assert parents == ([mine] if flags == "01" else [])


@pytest.mark.parametrize("flags", ["01", "00"])
def test_the_span_of_a_library_passes_the_state_on(telemetry: Telemetry, flags: str) -> None:
    tracer = trace.get_tracer("library", tracer_provider=telemetry.tracer_provider)
    came = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-{flags}", "tracestate": "vendor=1"}
    below: dict[str, str] = {}
    with tracer.start_as_current_span("library", propagate.extract(came)), span("inner"):
        propagate.inject(below)
    assert below["tracestate"] == "vendor=1" and below["traceparent"].endswith(flags)


@pytest.mark.parametrize(
    ("state", "kept_of_it"),
    [
        ("vendor=a b,other=1", "vendor=a b,other=1"),
        ("vendor=1,,other=2", "vendor=1,other=2"),
        (",vendor=1, \t,", "vendor=1"),
        (" vendor=1 ,\tt-0@v_*/=! ~ ", "vendor=1,t-0@v_*/=! ~"),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
    ],
)
def test_a_tracestate_may_hold_spaces_and_empty_members(
    telemetry: Telemetry, kept: Kept, state: str, kept_of_it: str
) -> None:
    with span("x", parent=f"00-{'ab' * 16}-{'cd' * 8}-01", state=state):
        pass
    context = kept.ended[0].get_span_context()
    assert context is not None and context.trace_state.to_header() == kept_of_it


@pytest.mark.parametrize(
    "state",
    ["\x00=,,=;", "vendor=", "vendor", "Vendor=1", "1a=1", "a=1,b=\u00fc", "a=1=2", "a=1\n", "a =1",
     "a=" + "x" * 257, ",".join(f"k{n}=1" for n in range(33)), "a=1," + " ," * 200 + "=", "a=1,a=2",
     " " * 500 + "x"],
)  # fmt: skip
def test_a_bad_tracestate_is_no_error_and_not_logged(
    telemetry: Telemetry, kept: Kept, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    with span("x", parent=f"00-{'ab' * 16}-{'cd' * 8}-01", state=state):
        pass
    context = kept.ended[0].get_span_context()
    assert context is not None and not context.trace_state and not caplog.records


def test_an_exception_is_recorded_once_as_the_conventions_say(
    telemetry: Telemetry, kept: Kept
) -> None:
    with pytest.raises(KeyError), span("outer"), span("inner"):
        raise KeyError("password=hunter2hunter2")
    inner, outer = kept.ended
    (event,) = inner.events
    said = dict(event.attributes or {})
    assert event.name == "exception" and said["exception.type"] == "KeyError"
    assert "hunter2" not in str(said) and "raise KeyError" in str(said["exception.stacktrace"])
    assert not outer.events and outer.status.status_code is StatusCode.ERROR


def test_an_exception_that_other_code_records_on_our_span_is_redacted(
    telemetry: Telemetry, kept: Kept
) -> None:
    with span("request"):
        error = KeyError("password=hunter2hunter2")
        trace.get_current_span().record_exception(error, {"theirs": 1}, escaped=True)
    (event,) = kept.ended[0].events
    recorded = dict(event.attributes or {})
    assert recorded["exception.escaped"] == "True" and recorded["theirs"] == 1
    assert "KeyError" in str(recorded) and "hunter2" not in str(recorded)


def test_however_long_what_it_is_told_it_stays_small(telemetry: Telemetry, kept: Kept) -> None:
    """Thousands of spans wait for a collector that is away."""
    text = "password=hunter2 " + "x" * 1_000_000
    with pytest.raises(ValueError), span("request", attributes={}) as made:
        made.set_attribute("long", text)
        raise ValueError(text)
    (ended,) = kept.ended
    (event,) = ended.events
    said = dict(event.attributes or {})
    assert len(str((ended.attributes or {})["long"])) <= 2048
    assert len(str(said["exception.message"])) <= 2048
    assert len(str(said["exception.stacktrace"])) <= 16384
    assert "Traceback" in str(said["exception.stacktrace"]) and "hunter2" not in str(said)


def test_what_a_span_begins_with_and_what_libraries_add_stays_small(
    telemetry: Telemetry, kept: Kept
) -> None:
    class Text(str):
        pass

    text = "x" * 100_000
    many = {f"k{n}": n for n in range(200)}
    with span("request", attributes={"long": text, **many}) as made:
        made.set_attribute("text", Text(text))
        trace.get_current_span().add_event("library", {"long": text})
    (ended,) = kept.ended
    assert len(ended.attributes or {}) == 128 and ended.dropped_attributes == 74
    body, errors = encode_spans([ended])
    assert not errors and len(body) < 40_000
