"""The exporter against a collector that is good, refuses, is garbage, or is not there."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from forge_min import observe
from forge_min.errors import ConfigError
from forge_min.observe import span
from forge_min.observe.otlp import OTLPExporter
from opentelemetry.sdk.trace.export import SpanExportResult


class Collector(HTTPServer):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        self.server.received.append((self.path, kind, json.loads(body)))
        self.wfile.write(self.server.answer)

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


def export(endpoint: str) -> None:
    telemetry = observe.setup("shop", sample_ratio=1.0, exporter=OTLPExporter(endpoint, timeout=5))
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
    assert outer["status"] == {"code": 1} or outer["status"] == {"code": 0}
    assert int(outer["endTimeUnixNano"]) >= int(outer["startTimeUnixNano"]) > 10**18


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
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


def test_a_collector_that_is_not_there_is_a_failure_and_no_exception() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exporter = OTLPExporter(f"http://127.0.0.1:{free.getsockname()[1]}")
        assert exporter.export([]) is SpanExportResult.FAILURE


@pytest.mark.parametrize("endpoint", ["", "collector:4318", "ftp://x", "http://", "http://x:port"])
def test_an_endpoint_that_is_no_address_is_a_config_error(endpoint: str) -> None:
    with pytest.raises(ConfigError):
        OTLPExporter(endpoint)
