"""The built artifact scraped: every series of the contract, in both formats, over processes."""

from __future__ import annotations

import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min import db
from forge_min.testing import TestDatabase
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

pytestmark = pytest.mark.db
SHIPPED = Path(forge_min.__file__).parent / "observe" / "monitoring"

# The contract: family → kind and labels. process_* and python_gc_* as Prometheus names them.
CONTRACT = {
    "forge_http_request_duration_seconds": ("histogram", {"method", "route", "status"}),
    "forge_http_requests_in_flight": ("gauge", set()),
    "forge_db_query_duration_seconds": ("histogram", {"operation"}),
    "forge_jobs_inserted": ("counter", {"kind", "queue"}),
    "forge_job_duration_seconds": ("histogram", {"kind", "queue", "outcome"}),
    "forge_jobs": ("gauge", {"queue", "state"}),
    "forge_job_wait_seconds": ("histogram", {"queue"}),
    "forge_sse_connections": ("gauge", set()),
    "forge_sse_events_sent": ("counter", set()),
    "forge_sse_refreshes": ("counter", {"reason"}),
    "forge_sse_rejected": ("counter", {"cap"}),
    "forge_notify_lag_seconds": ("gauge", set()),
    "forge_notify_hubs_down": ("gauge", set()),
    "forge_notify_reconnects": ("counter", set()),
    # Beyond the contract, for the alerts:
    "forge_http_connections": ("gauge", set()),
    "forge_http_connections_limit": ("gauge", set()),
    "forge_sse_connections_limit": ("gauge", set()),
    "forge_ready": ("gauge", set()),
    "forge_build": ("info", {"version", "commit", "impl"}),
    "process_cpu_seconds": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_virtual_memory_bytes": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
    "process_threads": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "python_gc_collections": ("counter", {"generation"}),
    "python_gc_objects_collected": ("counter", {"generation"}),
    "python_gc_objects_uncollectable": ("counter", {"generation"}),
}
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
TRACE = "0af7651916cd43dd8448eb211c80319c"
# No trace but the one that is asked for: of others, one in a hundred would be an exemplar.
QUEUES = {
    "FORGE_JOBS_QUEUES": "{default = 2, nearest = 2}",
    "FORGE_OBSERVE_SAMPLE_RATIO": "0",
    "FORGE_SERVER_TRUSTED_PROXIES": '["127.0.0.1"]',
}
SAMPLED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


def scraped(site: Any, accept: str = OPENMETRICS) -> dict[str, Metric]:
    """The families that the admin server tells of; the parser is strict."""
    status, headers, body = site.ask("GET", "/metrics", port=site.admin, Accept=accept)
    assert status == 200
    kind = headers["content-type"]
    parse = openmetrics if kind.startswith("application/openmetrics-text") else prometheus
    assert (parse is openmetrics) == ("openmetrics" in accept)
    return {family.name: family for family in parse(body.decode())}


def value(site: Any, name: str, **labels: str) -> float:
    """The sum of the series of this name that have these labels."""
    found = scraped(site).values()
    samples = [s for family in found for s in family.samples if s.name == name]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


@contextmanager
def stream(site: Any, last: str = "") -> Iterator[bytes]:
    """An open live stream; what came first."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=15) as sock:
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        sock.sendall(f"GET /events?topic=countries HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        seen = b""
        while b"heartbeat" not in seen and b" 429 " not in seen:
            chunk = sock.recv(65536)
            assert chunk, seen
            seen += chunk
        yield seen


def use(site: Any, process: Any) -> None:
    """A request, an error, jobs, streams, one of them refused and one refreshed."""
    row = {"code": "DE", "name": "Germany"}
    country = site.ask("POST", "/api/v1/countries", row, **SAMPLED)
    assert country[0] == 201
    place = {"latitude": "51", "longitude": "8", "country_id": country[1]["location"][-36:]}
    airport = site.ask("POST", "/api/v1/airports", {"icao": "AAAA", "name": "A"} | place, **SAMPLED)
    assert airport[0] == 201, airport
    site.ask("GET", "/api/v1/countries/nonsense")
    with stream(site, last="nonsense") as seen:
        assert b"refresh" in seen
        with stream(site) as refused:
            assert b" 429 " in refused
        process.wait_for(lambda: value(site, "forge_sse_connections") == 1, "a stream")
    done = {"kind": "FindNearest", "outcome": "completed"}
    process.wait_for(lambda: value(site, "forge_job_duration_seconds_count", **done) == 1, "a job")
    process.wait_for(lambda: value(site, "forge_jobs") > 0, "the leader's count")


def test_an_artifact_carries_the_dashboard_and_the_alerts(artifact: Path) -> None:
    with zipfile.ZipFile(artifact) as members:
        for name in ("alerts.yml", "dashboard.json"):
            member = members.read(f"forge_min/observe/monitoring/{name}")
            assert member == (SHIPPED / name).read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.thorough
def test_a_site_in_use_has_every_series_of_the_contract(site: Any, processes: int) -> None:
    process = site.serve("--processes", str(processes), FORGE_SSE_MAX_PER_USER="1", **QUEUES)
    if processes == 1:
        use(site, process)
    else:  # the caps are each process's own, so a second stream need not be refused
        country = site.create("countries", {"code": "DE", "name": "Germany"})
        place = {"latitude": "51", "longitude": "8", "country_id": country["id"]}
        site.create("airports", {"icao": "AAAA", "name": "A"} | place)
        process.wait_for(lambda: value(site, "forge_jobs") > 0, "the leader's count")
        done = "forge_job_duration_seconds_count"
        process.wait_for(lambda: value(site, done) == 1, "a job")
    found = scraped(site)
    for name, (kind, labels) in CONTRACT.items():
        assert found[name].type == kind, name
        seen = {n for s in found[name].samples for n in s.labels} - {"le"}
        assert seen == labels and found[name].samples, (name, seen)
        assert found[name].documentation, name
    routes = {s.labels["route"] for s in found["forge_http_request_duration_seconds"].samples}
    assert "/api/v1/countries" in routes and not any("nonsense" in route for route in routes)
    ours = {name for name in found if name.startswith("forge_")}
    assert ours == {n for n in CONTRACT if n.startswith("forge_")} | {
        "forge_metrics_overflow", "forge_log_dropped", "forge_spans_dropped",
    }  # fmt: skip

    text = scraped(site, "text/plain;version=0.0.4")
    assert {"forge_build_info" if n == "forge_build" else n for n in found} == set(text)
    assert process.stop() == 0, process.log


@pytest.mark.thorough
@pytest.mark.parametrize("processes", [1, 2])
def test_a_sampled_trace_is_the_exemplar_of_its_request_its_statements_and_its_job(
    site: Any, processes: int
) -> None:
    process = site.serve("--processes", str(processes), **QUEUES)
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    place = {"latitude": "51", "longitude": "8", "country_id": country["id"]}
    row = {"icao": "AAAA", "name": "A"} | place
    assert site.ask("POST", "/api/v1/airports", row, **SAMPLED)[0] == 201
    done = {"kind": "FindNearest", "outcome": "completed"}
    process.wait_for(lambda: value(site, "forge_job_duration_seconds_count", **done) == 1, "a job")
    found = scraped(site)
    for name in (
        "forge_http_request_duration_seconds", "forge_db_query_duration_seconds",
        "forge_job_duration_seconds", "forge_jobs_inserted",
    ):  # fmt: skip
        exemplars = [(s.labels, s.exemplar) for s in found[name].samples if s.exemplar]
        assert {e.labels["trace_id"] for _, e in exemplars} == {TRACE}, name
        if name == "forge_http_request_duration_seconds":
            assert {labels["route"] for labels, _ in exemplars} == {"/api/v1/airports"}
    assert process.stop() == 0, process.log


def test_requests_that_are_being_answered_are_told_over_all_processes(
    site: Any, fresh_database: TestDatabase
) -> None:
    process = site.serve("--processes", "2", FORGE_SERVER_MAX_PER_CLIENT="8")
    name = "forge_http_requests_in_flight"
    assert value(site, name) == 0
    answers: list[int] = []
    path = "/api/v1/countries"
    threads = [
        threading.Thread(target=lambda: answers.append(site.ask("GET", path)[0])) for _ in range(6)
    ]
    with db.connect(fresh_database.owner_url) as conn, db.transaction(conn):
        conn.execute("lock table countries in access exclusive mode")
        for thread in threads:
            thread.start()
        process.wait_for(lambda: value(site, name) == 6, "six of them")
    for thread in threads:
        thread.join(20)
    assert answers == [200] * 6 and value(site, name) == 0
    assert process.stop() == 0, process.log


@pytest.mark.slow
@pytest.mark.thorough
def test_a_real_prometheus_scrapes_the_site_in_both_formats(
    site: Any, prometheus_of: Callable[..., Any]
) -> None:
    process = site.serve(**QUEUES, FORGE_SSE_MAX_PER_USER="1")
    use(site, process)
    prometheus = prometheus_of(site.admin, SHIPPED / "alerts.yml")
    for target in prometheus.ask("targets")["activeTargets"]:
        assert (target["health"], target["lastError"]) == ("up", "")

    def stored(job: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in prometheus.ask("series", **{"match[]": f'{{job="{job}"}}'}):
            found.setdefault(row.pop("__name__"), set()).update(row)
        return found

    text = stored("text")
    assert text == stored("openmetrics"), "one name in both formats, and the same labels"
    for name, (kind, labels) in CONTRACT.items():
        suffix = {"counter": "_total", "info": "_info", "histogram": "_count"}.get(kind, "")
        assert labels <= text[name + suffix], name
    query = 'forge_http_request_duration_seconds_count{job="openmetrics",route="/api/v1/airports"}'
    (row,) = prometheus.ask("query", query=query)["result"]
    assert row["value"][1] == "1" and row["metric"]["method"] == "POST"

    now, query = time.time(), "forge_http_request_duration_seconds_bucket"
    exemplars = prometheus.ask(
        "query_exemplars", start=str(now - 300), end=str(now + 300), query=query
    )
    assert {row["seriesLabels"]["job"] for row in exemplars} == {"openmetrics"}
    assert {e["labels"]["trace_id"] for row in exemplars for e in row["exemplars"]} == {TRACE}

    def evaluated() -> bool:
        (group,) = prometheus.ask("rules")["groups"]
        return len(group["rules"]) >= 10 and all(r["health"] == "ok" for r in group["rules"])

    prometheus.wait_for(evaluated, "an evaluation of every alert")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_hundred_thousand_paths_methods_and_headers_leave_memory_bounded(site: Any) -> None:
    process = site.serve()

    def send(first: int, last: int) -> None:
        """One request each, of which no path, method or header value comes twice."""
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as sock:
            answers = sock.makefile("rb")
            for start in range(first, last, 50):
                batch = range(start, min(start + 50, last))
                sock.sendall(b"".join(map(_distinct, batch)))
                for _ in batch:
                    _skip_answer(answers)

    def state() -> tuple[int, int]:
        """(series, resident bytes)."""
        families = scraped(site).values()
        memory = value(site, "process_resident_memory_bytes")
        return sum(len(family.samples) for family in families), int(memory)

    send(0, 20_000)
    before = state()
    send(20_000, 100_000)
    after = state()
    assert after[0] - before[0] <= 40, "series"
    assert after[1] - before[1] < 8 << 20, (before, after)
    routes = {
        (s.labels["method"], s.labels["route"])
        for s in scraped(site)["forge_http_request_duration_seconds"].samples
    }
    assert {method for method, _ in routes} <= {"GET", "OTHER"}
    assert not any("secret" in route for _, route in routes)
    assert value(site, "forge_http_request_duration_seconds_count") >= 100_000
    assert value(site, "forge_http_requests_in_flight") == 0
    assert process.stop() == 0, process.log


def _distinct(n: int) -> bytes:
    method = b"GET" if n % 2 else b"M%d" % n
    path = (b"/api/v1/countries/secret%d", b"/secret%d", b"/countries/%d?q=secret")[n % 3] % n
    return (
        b"%b %b HTTP/1.1\r\nHost: h%d.example\r\nUser-Agent: u%d\r\nAccept: a/b%d\r\n"
        b"Accept-Language: x-%d\r\nX-Request-ID: r%d\r\nCookie: c%d=%d\r\nX-N%d: v\r\n"
        b"traceparent: 00-%032x-%016x-01\r\n\r\n"
    ) % (method, path, n, n, n, n, n, n, n, n, n + 1, n + 1)


def _skip_answer(answers: Any) -> None:
    """Read one answer to its end."""
    status, length = answers.readline(), 0
    assert status.startswith(b"HTTP/1.1 "), status
    while (line := answers.readline()) != b"\r\n":
        name, _, told = line.partition(b":")
        assert name, "the connection ended"
        if name.lower() == b"content-length":
            length = int(told)
    answers.read(length)
