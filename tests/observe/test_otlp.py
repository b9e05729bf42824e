"""The exporter against a collector that is good, refuses, is garbage, or is not there."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from forge_min import observe
from forge_min.observe import span
from forge_min.observe.otlp.exporter import OTLPExporter
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class Collector(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, str, Any]] = []
        self.heads: list[Any] = []
        self.answers: list[bytes] = []  # one for each request, before `answer`
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        self.came = threading.Semaphore(0)
        self.protobuf = False

    @property
    def spans(self) -> list[Any]:
        bodies = [body for _, _, body in self.received]
        groups = [s for b in bodies for r in b["resourceSpans"] for s in r["scopeSpans"]]
        return [span for group in groups for span in group["spans"]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.heads.append(self.headers)
        read = ExportTraceServiceRequest.FromString if self.server.protobuf else json.loads
        self.server.received.append((self.path, kind, read(body)))
        answers = self.server.answers
        self.wfile.write(answers.pop(0) if answers else self.server.answer)
        self.server.came.release()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def export(endpoint: str, patience: float = 0.0) -> None:
    exporter = OTLPExporter(endpoint, timeout=5, patience=patience)
    telemetry = observe.setup("shop", sample_ratio=1.0, exporter=exporter)
    try:
        with span("outer", kind="server", attributes={"n": 2**60, "b": True, "f": 0.5, "s": "ü"}):
            try:
                with span("inner", kind="client"):
                    raise ValueError("no")
            except ValueError:
                pass
    finally:
        telemetry.shutdown()


def test_spans_arrive_as_the_protocol_says(collector: Collector) -> None:
    export(collector.url + "/")
    ((path, kind, body),) = collector.received
    assert (path, kind) == ("/v1/traces", "application/json")
    (resource,) = body["resourceSpans"]
    named = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
    assert named["service.name"] == {"stringValue": "shop"}
    inner, outer = resource["scopeSpans"][0]["spans"]
    assert (outer["name"], outer["kind"], inner["kind"]) == ("outer", 2, 3)
    assert inner["parentSpanId"] == outer["spanId"] and "parentSpanId" not in outer
    assert inner["traceId"] == outer["traceId"] and len(outer["traceId"]) == 32
    values = {a["key"]: a["value"] for a in outer["attributes"]}
    assert values == {
        "n": {"intValue": str(2**60)},
        "b": {"boolValue": True},
        "f": {"doubleValue": 0.5},
        "s": {"stringValue": "ü"},
    }
    assert inner["status"]["code"] == 2 and inner["events"][0]["name"] == "exception"
    assert outer["status"]["code"] in (0, 1)
    assert int(outer["endTimeUnixNano"]) >= int(outer["startTimeUnixNano"]) > 10**18


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
    ],
)
def test_a_collector_that_refuses_or_answers_garbage_is_logged(
    collector: Collector, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    collector.answer = answer
    with caplog.at_level(logging.WARNING, "forge_min.observe.otlp"):
        export(collector.url)
    assert "2 spans were dropped" in caplog.text


def test_headers_that_cannot_be_sent_are_not_told_and_not_tried_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"x-team": "hunter2hunter2\n"}
    exporter = OTLPExporter(collector.url, headers=headers, patience=60)
    started = time.monotonic()
    assert exporter.export([]) is SpanExportResult.FAILURE
    assert time.monotonic() - started < 30 and not collector.received, "no patience was needed"
    assert "0 spans were dropped: " in caplog.text and "hunter2" not in caplog.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_that_cannot_be_verified_is_no_fault_of_the_headers(
    collector: Collector, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    collector.socket = context.wrap_socket(collector.socket, server_side=True)
    exporter = OTLPExporter(collector.url.replace("http:", "https:"), patience=0)
    assert exporter.export([]) is SpanExportResult.FAILURE
    assert "cannot reach the collector: " in caplog.text
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text and "otlp_headers" not in caplog.text


def test_a_collector_that_is_not_there_is_a_failure_and_no_exception() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exporter = OTLPExporter(f"http://127.0.0.1:{free.getsockname()[1]}", patience=0)
        assert exporter.export([]) is SpanExportResult.FAILURE


BUSY = b"HTTP/1.1 %d Later\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.thorough
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_the_specification_calls_retryable_is_tried_again_when_the_collector_says(
    collector: Collector, status: int
) -> None:
    collector.answers = [BUSY % (status, b"2")]
    started = time.monotonic()
    export(collector.url, patience=30)
    assert len(collector.received) == 2 and time.monotonic() - started >= 2.0
    assert collector.received[0] == collector.received[1]


@pytest.mark.parametrize("status", [400, 401, 413, 500, 501])
def test_what_is_not_retryable_is_sent_once(collector: Collector, status: int) -> None:
    collector.answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    export(collector.url, patience=30)
    assert len(collector.received) == 1


def test_a_collector_that_comes_back_gets_what_waited() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    telemetry = observe.setup("shop", exporter=OTLPExporter(f"http://127.0.0.1:{port}"))
    with span("waiting"):
        pass
    late = threading.Event()
    late.wait(1.5)  # the first try has failed
    server = Collector.__new__(Collector)
    HTTPServer.__init__(server, ("127.0.0.1", port), Receiver)
    server.received, server.heads, server.answers = [], [], []
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    server.came, server.protobuf = threading.Semaphore(0), False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        assert server.came.acquire(timeout=20)
        assert [row["name"] for row in server.spans] == ["waiting"]
    finally:
        telemetry.shutdown()
        server.shutdown()
        thread.join()
        server.server_close()


def test_large_bodies_are_compressed_and_the_headers_sent_with_each(collector: Collector) -> None:
    telemetry = observe.setup("shop", exporter=OTLPExporter(collector.url, headers={"X-Key": "k"}))
    try:
        for _ in range(3):
            for n in range(50):
                with span(f"s{n}"):
                    pass
            assert telemetry.tracer_provider.force_flush()
    finally:
        telemetry.shutdown()
    assert len(collector.spans) == 150
    assert {head["Content-Encoding"] for head in collector.heads} == {"gzip"}
    assert {head["X-Key"] for head in collector.heads} == {"k"}


def test_a_partial_success_is_told_and_not_tried_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    said = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'
    collector.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    with caplog.at_level(logging.WARNING, "forge_min.observe.otlp"):
        export(collector.url, patience=30)
    assert "rejected 1 spans: too old" in caplog.text and len(collector.received) == 1


def test_of_what_a_collector_says_a_line_repeats_the_beginning(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be 64 KiB of control characters, six times as long in the log."""
    said = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"%s"}}' % (b"x" * 50_000)
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    with caplog.at_level(logging.WARNING, "forge_min.observe.otlp"):
        for answer in (whole, b"\0" * 50_000 + b"\r\n"):
            collector.answer = answer
            export(collector.url, patience=0)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2 and max(map(len, messages)) < 300


@pytest.mark.parametrize(
    ("rejected", "lost"),
    [("1", 1), ('"2"', 2), ("3000", 3), ("-1", 0), ("0", 0), ("Infinity", 0), ("-1e999", 0),
     ("NaN", 0), ("null", 0), ("[]", 0)],
)  # fmt: skip
def test_what_a_collector_has_rejected_is_counted_and_no_more(
    collector: Collector, rejected: str, lost: int
) -> None:
    said = b'{"partialSuccess":{"rejectedSpans":%s}}' % rejected.encode()
    collector.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    telemetry = observe.setup("shop", exporter=OTLPExporter(collector.url))
    for _ in range(3):
        with span("x"):
            pass
    telemetry.shutdown()
    assert telemetry.dropped == {"full": 0, "failed": lost, "stopped": 0}


def test_what_comes_before_the_answer_is_read_past(collector: Collector) -> None:
    before = b"HTTP/1.1 100 Continue\r\n\r\n"
    exporter = OTLPExporter(collector.url, patience=0)
    for _ in range(2):
        collector.answers = [before + collector.answer]
        assert exporter.export([]) is SpanExportResult.SUCCESS
    assert len(collector.received) == 2
    collector.answers = [before + b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"]
    assert exporter.export([]) is SpanExportResult.FAILURE
    exporter.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A collector that accepts and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_collector_that_reads_nothing_of_a_large_batch_holds_it_no_longer(silent: str) -> None:
    telemetry = observe.setup("shop", exporter=OTLPExporter(silent, timeout=0.5, patience=0))
    for _ in range(300):
        with span("x", attributes={"random": os.urandom(20_000).hex()}):
            pass
    started = time.monotonic()
    assert telemetry.tracer_provider.force_flush(10_000)
    assert time.monotonic() - started < 8
    telemetry.shutdown()
    assert telemetry.dropped["failed"] == 300


def test_an_answer_that_comes_in_pieces_is_read(collector: Collector) -> None:
    said = b'{"partialSuccess":{}}'
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in said)
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    collector.answer = head + pieces + b"0\r\n\r\n"
    exporter = OTLPExporter(collector.url, patience=0)
    assert exporter.export([]) is exporter.export([]) is SpanExportResult.SUCCESS
    collector.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"
    assert exporter.export([]) is exporter.export([]) is SpanExportResult.SUCCESS
    exporter.shutdown()


@pytest.mark.thorough
def test_a_collector_that_never_answers_costs_no_request_and_memory_stays_bounded(
    silent: str,
) -> None:
    telemetry = observe.setup("shop", exporter=OTLPExporter(silent, timeout=60))
    longest, ended = 0.0, 20_000
    for _ in range(ended):
        started = time.perf_counter()
        with span("x"):
            pass
        longest = max(longest, time.perf_counter() - started)
    assert longest < 5.0  # one that waits for the collector takes 60
    assert ended - 8192 - 512 <= telemetry.dropped["full"] < ended
    started = time.monotonic()
    telemetry.shutdown()
    assert time.monotonic() - started < 15.0
    assert sum(telemetry.dropped.values()) == ended


def test_the_shutdown_sends_what_waits(collector: Collector) -> None:
    telemetry = observe.setup("shop", exporter=OTLPExporter(collector.url))
    for n in range(2000):
        with span(f"s{n}"):
            pass
    telemetry.shutdown()
    telemetry.shutdown()
    assert len(collector.spans) == 2000
    assert "otlp-export" not in [thread.name for thread in threading.enumerate()]


def test_an_exporter_that_raises_loses_its_batch_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(SpanExporter):
        calls = 0

        def export(self, spans: Any) -> SpanExportResult:
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("no")
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    bad = Bad()
    telemetry = observe.setup("shop", exporter=bad)
    for _ in range(2):
        with span("x"):
            pass
        assert telemetry.tracer_provider.force_flush()
    telemetry.shutdown()
    assert (bad.calls, telemetry.dropped["failed"]) == (2, 1)


def test_links_remote_parents_and_numbers_without_a_word_in_json_arrive(
    collector: Collector,
) -> None:
    telemetry = observe.setup("shop", exporter=OTLPExporter(collector.url))
    parent, link = f"00-{'ab' * 16}-{'cd' * 8}-01", f"00-{'12' * 16}-{'34' * 8}-01"
    values = {"nan": float("nan"), "inf": float("-inf"), "text": '"\n\ud83d', "list": (1, "a")}
    with span("x", parent=parent, links=[link], attributes=values):  # type: ignore[arg-type]
        pass
    telemetry.shutdown()
    (row,) = collector.spans
    assert row["parentSpanId"] == "cd" * 8 and row["flags"] == 0x301
    assert [one["traceId"] for one in row["links"]] == ["12" * 16]
    told = {a["key"]: a["value"] for a in row["attributes"]}
    assert told["nan"] == {"doubleValue": "NaN"} and told["inf"] == {"doubleValue": "-Infinity"}
    assert told["text"] == {"stringValue": '"\n?'}  # half a pair: protobuf reads no such JSON
    assert told["list"] == {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_span_that_cannot_be_written_costs_no_other_and_is_counted(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = OTLPExporter(collector.url)
    ids = trace.SpanContext(5, 7, False)
    spans = [ReadableSpan(n, ids, attributes={k: 1}) for n, k in (("a", "k"), ("b", Silent()))]  # type: ignore[dict-item]
    with caplog.at_level(logging.WARNING, "forge_min.observe.otlp"):
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert [row["name"] for row in collector.spans] == ["a"] and exporter.left_out == 1
    assert "1 spans cannot be encoded: RuntimeError('no')" in caplog.text


def test_the_official_exporter_is_used_where_it_is_installed(collector: Collector) -> None:
    """It speaks protobuf: what arrives is read by the classes of the protocol itself."""
    collector.protobuf = True
    exporter = observe.new_exporter(collector.url, headers={"x-key": "k"})
    assert not isinstance(exporter, OTLPExporter)
    telemetry = observe.setup("shop", exporter=exporter)
    with span("x", attributes={"n": 1}):
        pass
    telemetry.shutdown()
    ((path, kind, request),) = collector.received
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    assert collector.heads[0]["x-key"] == "k"
    (row,) = request.resource_spans[0].scope_spans[0].spans
    assert row.name == "x" and row.attributes[0].value.int_value == 1
