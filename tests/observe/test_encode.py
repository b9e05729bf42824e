"""Whatever a span is given, the classes of the protocol read what we write."""

from __future__ import annotations

import base64
import enum
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from forge_min.observe import span
from forge_min.observe.otlp.exporter import encode_spans
from google.protobuf.json_format import ParseDict
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

Spans = Callable[[], Sequence[ReadableSpan]]


class Word(float):
    """As a number of NumPy."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)})"

    __str__ = __repr__


class Number(int, enum.Enum):
    ONE = 1

    def __str__(self) -> str:
        return "Number.ONE"


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no")


def read(spans: Spans) -> tuple[list[Any], list[Exception]]:
    """The spans as the protocol's own classes read them, and what was left out."""
    body, errors = encode_spans(spans())
    request = json.loads(body)
    for row in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in {"traceId", "spanId", "parentSpanId"} & row.keys():
            row[key] = base64.b64encode(bytes.fromhex(row[key])).decode()  # as protobuf's own JSON
    message = ParseDict(request, ExportTraceServiceRequest())
    return list(message.resource_spans[0].scope_spans[0].spans), errors


@pytest.mark.parametrize(
    ("value", "field", "told"),
    [
        (Word(1.5), "double_value", 1.5),
        (Number.ONE, "int_value", 1),
        (2**63 - 1, "int_value", 2**63 - 1),
        (-(2**63), "int_value", -(2**63)),
        (2**63, "string_value", str(2**63)),
        (-(2**70), "string_value", str(-(2**70))),
        (10**5000, "string_value", "int"),
        (b"\xff\x00", "bytes_value", b"\xff\x00"),
        ("a\udc80\ud83d", "string_value", "a??"),
        ("\\ud800 \\\ud800 \U0001f600", "string_value", "\\ud800 \\? \U0001f600"),
    ],
    ids=range(10),
)
def test_a_value_is_written_as_the_protocol_reads_it(
    spans: Spans, value: Any, field: str, told: object
) -> None:
    with span("x"):
        trace.get_current_span().set_attribute("a", value)
    ((row,), errors) = read(spans)
    assert getattr(row.attributes[0].value, field) == told and not errors


def test_nothing_in_a_list_is_a_value_without_a_kind(spans: Spans) -> None:
    with span("x"):
        trace.get_current_span().set_attribute("a", ["b", None])  # type: ignore[list-item]
    ((row,), errors) = read(spans)
    kinds = [one.WhichOneof("value") for one in row.attributes[0].value.array_value.values]
    assert kinds == ["string_value", None] and not errors


@pytest.mark.parametrize(("remote", "flags"), [(True, 0x301), (False, 0x101)])
def test_a_link_says_where_it_leads_and_what_its_trace_carries(
    spans: Spans, remote: bool, flags: int
) -> None:
    state = trace.TraceState([("vendor", "7")])
    with span("x"):
        to = trace.SpanContext(5, 7, remote, trace.TraceFlags(1), state)
        trace.get_current_span().add_link(to)
    ((row,), errors) = read(spans)
    (link,) = row.links
    assert (link.flags, link.trace_state) == (flags, "vendor=7") and not errors


def test_half_a_pair_of_surrogates_costs_no_other_span(spans: Spans) -> None:
    with pytest.raises(FileNotFoundError), span("file"):
        os.stat(b"/no/caf\xe9".decode("utf-8", "surrogateescape"))  # PEP 383
    with span("name \udc80"):
        trace.get_current_span().set_attribute("key \ud800", ["\udfff"])
    rows, errors = read(spans)
    assert len(rows) == 2 and not errors


@pytest.mark.parametrize("value", [[Word(2), [Number.ONE]], {"a": [1]}], ids=range(2))
def test_lists_and_mappings_are_written(spans: Spans, value: Any) -> None:
    with span("x"):
        trace.get_current_span().set_attribute("a", value)
    ((row,), errors) = read(spans)
    assert row.attributes[0].value.WhichOneof("value") and not errors


@pytest.mark.parametrize(
    "does",
    [
        lambda span: span.set_attribute(5, 1),
        lambda span: span.set_attribute(None, 1),
        lambda span: span.update_name(None),
        lambda span: span.add_link(None),
        lambda span: span.add_event(5),
        lambda span: span.add_event("e", {"a": Word(2)}),
        lambda span: span.add_event("e", timestamp=1.5),
        lambda span: span.add_event("e", timestamp=-5),
        lambda span: span.end(-5),
        lambda span: span.end(1e9),
        lambda span: span.end(2**70),
        lambda span: span.set_status(StatusCode.ERROR, 5),
    ],
    ids=range(12),
)
def test_names_times_and_links_may_be_anything(spans: Spans, does: Callable[[Any], None]) -> None:
    with span("x"):
        does(trace.get_current_span())
    ((row,), errors) = read(spans)
    assert row.trace_id and not errors


def ended(key: object, value: object = 1) -> ReadableSpan:
    """A span of another SDK's making, which has checked nothing."""
    ids = trace.SpanContext(5, 7, False)
    return ReadableSpan("x", ids, attributes={key: value})  # type: ignore[dict-item]


def test_a_span_that_cannot_be_written_is_left_out_and_the_others_are_not() -> None:
    rows, errors = read(lambda: [ended("a"), ended(Silent()), ended("b", Silent())])
    assert [row.attributes[0].key for row in rows] == ["a", "b"]
    assert rows[1].attributes[0].value.string_value == "Silent"
    assert [str(error) for error in errors] == ["no"]
