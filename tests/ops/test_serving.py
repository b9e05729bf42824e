"""The built artifact serving: live events, jobs, one trace from request to job, draining,
crashes.
"""

from __future__ import annotations

import gzip
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from forge_min import db
from psycopg.conninfo import make_conninfo

from round_trips import counting_proxy

pytestmark = pytest.mark.db


def flight(site: Any) -> dict[str, Any]:
    """A flight between two new airports."""
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    ids = [
        site.create(
            "airports",
            {
                "icao": icao,
                "name": icao,
                "country_id": country["id"],
                "latitude": "50",
                "longitude": longitude,
            },
        )["id"]
        for icao, longitude in (("AAAA", "8"), ("BBBB", "9"))
    ]
    made: dict[str, Any] = site.create(
        "flights",
        {
            "number": "FM<1>",
            "origin_id": ids[0],
            "destination_id": ids[1],
            "departs_at": "2026-11-25T08:30:00Z",
            "arrives_at": "2026-11-25T10:30:00+01:00",
        },
    )
    return made


@contextmanager
def stream(site: Any, query: str, **headers: str) -> Iterator[Any]:
    """A plain SSE client: gives read(until) → everything so far."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=15) as sock:
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        sock.sendall(f"GET /events?{query} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        seen = b""

        def read(until: bytes) -> bytes:
            nonlocal seen
            while until not in seen:
                chunk = sock.recv(65536)
                assert chunk, seen
                seen += chunk
            return seen

        read(b"\r\n\r\n")
        yield read


def test_a_change_reaches_open_streams_as_json_and_as_html(site: Any) -> None:
    site.serve()
    made = flight(site)
    with stream(site, "topic=flights") as plain, stream(site, "topic=flights&format=html") as page:
        status, _, _ = site.ask("PATCH", f"/api/v1/flights/{made['id']}", {"gate": "A<1"})
        assert status == 200
        text = plain(b'"changed":["gate"]').decode()
        assert f'"id":"{made["id"]}"' in text and "event: flight.updated" in text
        patch = page(b"A&lt;1").decode()
        assert "event: datastar-patch-elements" in patch
        assert f'id="flights-{made["id"]}"' in patch
        assert "A&lt;1" in patch and "FM&lt;1&gt;" in patch and "A<1" not in patch


def test_streams_get_a_close_event_when_the_server_stops(site: Any) -> None:
    process = site.serve()
    with stream(site, "topic=flights") as read:
        process.popen.terminate()
        assert b"shutdown" in read(b"shutdown")
    assert process.popen.wait(30) == 0, process.log


def test_a_reader_that_comes_back_gets_what_it_missed_or_a_refresh(site: Any) -> None:
    site.serve()
    made = flight(site)
    url = f"/api/v1/flights/{made['id']}"
    with stream(site, "topic=flights") as read:
        site.ask("PATCH", url, {"gate": "A1"})
        text = read(b'"version":2')
    last = [line for line in text.decode().splitlines() if line.startswith("id: ")][-1][4:]
    site.ask("PATCH", url, {"gate": "A2"})
    with stream(site, "topic=flights", Last_Event_ID=last) as read:
        assert b'"version":3' in read(b'"version":3')
    with stream(site, "topic=flights", Last_Event_ID="nonsense") as read:
        assert b"event: refresh" in read(b'"reason":"resume"')


def test_caps_answer_429_and_503(site: Any) -> None:
    site.serve(FORGE_SSE_MAX_PER_USER="2", FORGE_SSE_MAX_CONNECTIONS="2")
    with stream(site, "topic=flights"), stream(site, "topic=airports"):
        status, headers, body = site.ask("GET", "/events?topic=flights")
        assert status in (429, 503) and "retry-after" in headers
        assert headers["content-type"] == "application/problem+json", body
    status, _, _ = site.ask("GET", "/events?topic=wings")
    assert status == 404


def test_jobs_of_hooks_are_worked_inside_serve(site: Any) -> None:
    process = site.serve(FORGE_JOBS_QUEUES="{default = 1, nearest = 2}")
    made = flight(site)
    with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        query = "select count(*) from forge_job where state = 'completed'"
        process.wait_for(lambda: conn.execute(query).fetchone() == (2,), "two jobs")
        rows = conn.execute("select icao, nearest_km from airports order by icao").fetchall()
    assert rows[0][1] is None or rows[1][1] is not None  # the first may have found nobody yet
    assert 70 < float(rows[1][1]) < 73
    site.ask("PATCH", f"/api/v1/flights/{made['id']}", {"status": "boarding"})
    process.wait_for(lambda: f"gate shows flight {made['id']}" in process.log, "NotifyGate")


class Collector:
    """A real HTTP server that takes OTLP as JSON."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._more = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                found = [
                    span
                    for resource in json.loads(body)["resourceSpans"]
                    for scope in resource["scopeSpans"]
                    for span in scope["spans"]
                ]
                with outer._more:
                    outer.spans += found
                    outer._more.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def wait_for(self, name: str, parent_name: str) -> bool:
        """A span of this name whose trace has a span of that name."""

        def there() -> bool:
            traces = {s["traceId"] for s in self.spans if s["name"] == parent_name}
            return any(s["name"] == name and s["traceId"] in traces for s in self.spans)

        with self._more:
            return self._more.wait_for(there, 30)

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def test_one_request_gives_one_trace_of_http_database_and_job(site: Any) -> None:
    collector = Collector()
    try:
        process = site.serve(
            FORGE_OBSERVE_OTLP_ENDPOINT=collector.url,
            FORGE_OBSERVE_SAMPLE_RATIO="1.0",
            FORGE_JOBS_QUEUES="{default = 2, nearest = 1}",
        )
        country = site.create("countries", {"code": "DE", "name": "Germany"})
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        place = {"icao": "CCCC", "name": "C", "latitude": "51", "longitude": "8"}
        place["country_id"] = country["id"]
        header = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        with stream(site, "topic=airports"):
            status, _, _ = site.ask("POST", "/api/v1/airports", place, **header)
            assert status == 201
            assert collector.wait_for("deliver airports", "deliver airports")
        request = "POST /api/v1/airports"
        assert collector.wait_for("job FindNearest", request)
        assert process.stop() == 0, process.log
    finally:
        collector.close()
    ours = {s["name"]: s for s in collector.spans if s["traceId"] == trace}
    assert ours[request]["parentSpanId"] == "00f067aa0ba902b7"
    # request → insert → work, and the queries inside each of them
    assert ours["insert Airport"]["parentSpanId"] == ours[request]["spanId"]
    assert ours["job FindNearest"]["parentSpanId"] == ours["insert Airport"]["spanId"]
    kinds = {"insert Airport": 4, "job FindNearest": 5}  # producer, consumer (OTLP, Span.SpanKind)
    for name, kind in kinds.items():
        assert ours[name]["kind"] == kind
        inside = [s for s in collector.spans if s.get("parentSpanId") == ours[name]["spanId"]]
        assert any("db.query.text" in json.dumps(s) for s in inside), (name, inside)
    statements = [s for s in ours.values() if "db.query.text" in json.dumps(s["attributes"])]
    routes = {
        a["value"]["stringValue"]
        for s in statements
        for a in s["attributes"]
        if a["key"] == "http.route"
    }
    assert routes == {"/api/v1/airports"}
    told = {a["key"]: a["value"] for a in ours[request]["attributes"]}
    assert told["url.path"] == {"stringValue": "/api/v1/airports"}
    assert told["http.response.status_code"] == {"intValue": "201"}


def test_in_development_the_console_shows_each_request_as_a_tree(site: Any) -> None:
    process = site.serve(FORGE_OBSERVE_SAMPLE_RATIO="1")
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    site.ask("GET", f"/api/v1/countries/{country['id']}")
    tree = re.compile(
        r"^trace [0-9a-f]{32}\n +\d+\.\d ms  GET /api/v1/countries/\{id\} .*\n"
        r" +\d+\.\d ms    SELECT +select ",
        re.M,
    )
    process.wait_for(lambda: tree.search(process.log) is not None, "the tree")


def test_traces_of_production_need_no_collector_if_a_ratio_is_set(site: Any) -> None:
    production = {"FORGE_ENV": "production", "FORGE_AUTH_SECRET": "x1" * 32}
    site.serve(**production, FORGE_OBSERVE_SAMPLE_RATIO="1")
    assert site.ask("GET", "/api/v1/flights")[0] == 200
    status, _, traces = site.ask("GET", "/debug/traces", port=site.admin, Host="localhost")
    assert status == 200 and b"GET /api/v1/flights" in traces and b"SELECT" in traces


def test_in_production_without_a_collector_no_span_is_made(site: Any) -> None:
    process = site.serve(FORGE_ENV="production", FORGE_AUTH_SECRET="x1" * 32)
    assert site.status(site.port, "/api/v1/countries") == 200
    assert process.stop() == 0
    assert "\ntrace " not in process.log
    assert "server.trusted_proxies is not set" in process.log


def test_an_unsampled_trace_keeps_its_id_and_costs_no_export(site: Any) -> None:
    process = site.serve()
    made = flight(site)
    trace = "0af7651916cd43dd8448eb211c80319c"
    site.ask(
        "PATCH",
        f"/api/v1/flights/{made['id']}",
        {"gate": "A1"},
        traceparent=f"00-{trace}-b7ad6b7169203331-00",
    )
    process.wait_for(lambda: f"trace_id={trace}" in process.log, "the job's log line")


def test_sigterm_answers_what_was_accepted_and_ends_with_0(site: Any) -> None:
    process = site.serve()
    results: list[int] = []

    def keep_asking() -> None:
        while True:
            try:
                results.append(site.ask("GET", "/api/v1/countries")[0])
            except OSError:
                return

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    process.wait_for(lambda: len(results) > 50, "some answers")
    assert process.stop() == 0, process.log
    for thread in threads:
        thread.join(30)
    assert set(results) == {200}
    assert "Traceback" not in process.log


CRASH = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import gen.registry
from forge_min import db
from forge_min.actions import Registry
database = db.Database(sys.argv[2])
registry = Registry(database, {})
gen.registry.register(registry, "/api/v1")
conn = database.connection()
with db.transaction(conn):
    country = registry.actions["countries"].create({"code": "DE", "name": "Germany"}, conn=conn)
    registry.actions["airports"].create(
        {"icao": "A", "name": "A", "country_id": str(country.id), "latitude": 1, "longitude": 1},
        conn=conn,
    )
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_between_insert_and_commit_loses_row_job_and_event_together(
    site: Any, project: Any
) -> None:
    assert site.run("migrate", "up").returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(project), site.environ["FORGE_DATABASE_URL"]],
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        for table in ("countries", "airports", "forge_job", "forge_event"):
            assert conn.execute(f"select count(*) from {table}").fetchone() == (0,)


def test_a_site_whose_database_goes_away_is_not_ready_and_comes_back(site: Any) -> None:
    process = site.serve()
    url = site.environ["FORGE_DATABASE_MIGRATE_URL"]
    with db.connect(url) as conn:
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
            " and usename = (select usename from pg_stat_activity where pid = pg_backend_pid())"
        )
    status, _, body = site.ask("GET", "/api/v1/countries")
    assert status in (200, 503), body
    process.wait_for(lambda: site.status(site.port, "/api/v1/countries") == 200, "recovery")
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")


@pytest.mark.thorough
def test_a_site_whose_database_stands_still_says_so_and_comes_back(site: Any) -> None:
    """It keeps its connections and says nothing, so TCP sees nothing of it."""
    with counting_proxy(site.environ["FORGE_DATABASE_URL"]) as proxy:
        process = site.serve(
            FORGE_DATABASE_URL=make_conninfo(proxy.url, connect_timeout=2),
            FORGE_DATABASE_STATEMENT_TIMEOUT="1s",
            FORGE_SERVER_THREADS="2",
            FORGE_SERVER_MAX_PER_CLIENT="4",
        )
        assert site.status(site.port, "/api/v1/countries") == 200
        with proxy.held():
            seen: list[Any] = []
            asking = [
                threading.Thread(target=lambda: seen.append(site.ask("GET", "/api/v1/countries")))
                for _ in range(4)
            ]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            assert [status for status, _, _ in seen] == [503] * 4, seen
            assert all("retry-after" in headers for _, headers, _ in seen)
            assert site.status(site.port, "/api/docs") == 200  # which asks no database
            assert site.status(site.admin, "/healthz") == 200
        process.wait_for(lambda: site.status(site.port, "/api/v1/countries") == 200, "recovery")
        process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
        proxy.close()  # the server is down now
        status, headers, _ = site.ask("GET", "/api/v1/countries")
        assert status == 503 and "retry-after" in headers
        assert site.status(site.port, "/api/docs") == 200


def test_the_api_is_limited_open_to_named_origins_and_compressed(site: Any) -> None:
    site.serve(
        FORGE_API_RATE_LIMIT='{default = "5/1h"}',
        FORGE_API_CORS_ORIGINS='["https://shop.example"]',
        FORGE_SERVER_TRUSTED_PROXIES='["127.0.0.1"]',
    )
    ask = partial(site.ask, "GET", "/api/v1/countries", Origin="https://shop.example")
    for _ in range(5):
        status, headers, _ = ask()
        assert status == 200 and headers["access-control-allow-origin"] == "https://shop.example"
    status, headers, body = ask()
    assert status == 429 and json.loads(body)["code"] == "F525" and "retry-after" in headers
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert ask(X_Forwarded_For="192.0.2.7")[0] == 200, "who comes through a proxy counts alone"
    assert ask(X_Forwarded_For="192.0.2.8", Accept="text/csv")[0] == 406
    assert site.ask("GET", "/api/docs", Accept_Encoding="gzip")[1]["content-encoding"] == "gzip"
    asked = {"Origin": "https://shop.example", "Access_Control_Request_Method": "PATCH"}
    assert site.ask("OPTIONS", "/api/v1/countries", **asked)[0] == 204


def test_healthz_answers_and_metrics_have_the_series(site: Any) -> None:
    site.serve()
    flight(site)
    status, _, body = site.ask("GET", "/healthz", port=site.admin)
    health = json.loads(body)
    assert status == 200 and health["status"] == "ok" and health["version"] == "0.1.0"
    assert health["impl"] in ("c", "python")
    _, headers, body = site.ask("GET", "/metrics", port=site.admin)
    text = body.decode()
    assert 'forge_http_request_duration_seconds_count{method="POST",route="/api/v1/flights"' in text
    assert "forge_db_query_duration_seconds" in text and "process_cpu_seconds_total" in text
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


def test_what_a_start_loads_is_never_looked_at_again_and_what_comes_later_is(site: Any) -> None:
    site.serve()
    told = json.loads(
        site.ask("GET", "/debug/pprof/gc", port=site.admin, Accept="application/json")[2]
    )
    (process,) = told["processes"]
    assert process["enabled"] and process["frozen"] > 50_000


def test_a_site_whose_migrations_are_behind_serves_and_says_so(site: Any) -> None:
    process = site.start("serve", "--no-jobs")
    process.wait_for(lambda: site.status(site.port, "/api/docs") == 200, "answers")
    process.wait_for(lambda: "migrations are not applied: 0001_initial.sql" in process.log, "said")
    status, _, body = site.ask("GET", "/readyz", port=site.admin)
    assert status == 503 and "0001_initial.sql" in body.decode()
    assert site.run("migrate", "up").returncode == 0
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready")
