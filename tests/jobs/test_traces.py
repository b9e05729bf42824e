"""One trace from the insert to the work, and a link from a retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forge_min import db, jobs, observe
from forge_min.app.telemetry import JobSpan
from forge_min.jobs import Job, NewJob
from forge_min.observe import span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

pytestmark = pytest.mark.db
Spans = Callable[[], dict[str, list[ReadableSpan]]]


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Everything is sampled; the ended spans by name."""
    exporter = InMemorySpanExporter()
    telemetry = observe.setup("tests", sample_ratio=1.0, exporter=exporter)

    def ended() -> dict[str, list[ReadableSpan]]:
        assert telemetry.tracer_provider.force_flush()
        found: dict[str, list[ReadableSpan]] = {}
        for each in exporter.get_finished_spans():
            found.setdefault(each.name, []).append(each)
        return found

    yield ended
    telemetry.shutdown()


def parent(one: ReadableSpan) -> int | None:
    return one.parent.span_id if one.parent is not None else None


def context(one: ReadableSpan) -> Any:
    found = one.get_span_context()
    assert found is not None
    return found


def test_a_first_attempt_continues_and_a_retry_is_linked(shop: Any, spans: Spans) -> None:
    def work(job: Job) -> None:
        job.conn.execute("select %s::int", [job.id])
        if job.attempt == 1:
            raise RuntimeError("once more")

    conn = shop.mine()
    observe.trace_connection(conn)
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with (
        span("request", kind="server", parent=caller, state="vendor=x,other=y"),
        db.transaction(conn),
    ):
        jobs.insert_tx(conn, "a")

    def connect() -> db.Connection:
        made = shop.open()
        observe.trace_connection(made)
        return made  # type: ignore[no-any-return]

    kind = jobs.Kind("a", work, retry=lambda job, error: 0.0)
    worker = jobs.Worker(
        connect, {"a": kind}, queues={"default": 1}, poll_interval=0.05, around=JobSpan
    )
    worker.start()
    shop.settle()
    worker.stop()
    found = spans()
    (request,), (insert,), (first, second) = (found[n] for n in ("request", "insert a", "job a"))
    assert insert.kind is SpanKind.PRODUCER and parent(insert) == context(request).span_id
    assert first.kind is second.kind is SpanKind.CONSUMER
    assert parent(first) == context(insert).span_id
    assert context(first).trace_id == context(request).trace_id
    assert context(first).trace_state.to_header() == "vendor=x,other=y"  # the caller's
    assert not context(second).trace_state
    assert parent(second) is None and context(second).trace_id != context(first).trace_id
    (link,) = second.links
    assert link.context.span_id == context(insert).span_id and not first.links
    assert dict(first.attributes or {})["forge.job.attempt"] == 1
    assert first.events[0].name == "exception"
    inside = [s for each in found.values() for s in each if parent(s) == context(first).span_id]
    assert any("db.query.text" in (s.attributes or {}) for s in inside), inside


def test_what_is_inserted_in_bulk_has_one_producer(shop: Any, spans: Spans) -> None:
    with span("request"):
        jobs.insert_many_tx(shop.conn, [NewJob("a") for _ in range(3)])
    (insert,) = spans()["insert jobs"]
    headers = shop.conn.execute("select distinct metadata ->> 'traceparent' from forge_job")
    ((header,),) = headers
    assert header.split("-")[2] == f"{context(insert).span_id:016x}"


def test_a_span_names_the_queue_that_it_is_about_and_none_besides(shop: Any, spans: Spans) -> None:
    with span("request"):
        jobs.insert_many_tx(shop.conn, [NewJob("a"), NewJob("a", queue="mail")])
        jobs.insert_tx(shop.conn, "a", queue="mail")
        with jobs.insert_span("Item"):  # as the actions' create
            pass
    found = spans()
    told = [dict(found[f"insert {what}"][0].attributes or {}) for what in ("jobs", "a", "Item")]
    queues = [one.pop("messaging.destination.name", None) for one in told]
    assert queues == [None, "mail", None]
    sends = {"messaging.operation.type": "send", "messaging.operation.name": "insert"}
    assert told == [{"messaging.system": "forge", **sends}] * 3


def test_without_telemetry_a_trace_goes_through_and_none_begins(shop: Any) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with span("in", parent=header):
        shop.insert()
    shop.insert()
    kept = shop.conn.execute("select metadata from forge_job order by id").fetchall()
    assert kept == [({"traceparent": header},), ({},)]
