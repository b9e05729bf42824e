"""What `make run SMOKE=1` checks over HTTP and SQL, and what keeps the board moving otherwise."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from forge_min import db

import data

STATUSES = ("boarding", "delayed", "scheduled")
JOBS_DEADLINE = 180.0  # seconds
EVENT_DEADLINE = 5.0  # seconds


class Checks:
    """Counts what held and prints a line each."""

    def __init__(self) -> None:
        self.failed = 0

    def that(self, what: str, good: bool, seen: object = "") -> None:
        """Print and count one check."""
        self.failed += not good
        print(
            f"{'ok  ' if good else 'FAIL'}  {what}{f': {seen}' if seen != '' else ''}", flush=True
        )


class Site:
    """One HTTP port of the application."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers by lower-case name, body)."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            sent = {k.replace("_", "-"): v for k, v in headers.items()}
            if body is not None:
                sent["Content-Type"] = "application/json"
            conn.request(method, path, None if body is None else json.dumps(body), sent)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()


def check(owner_url: str, web: int, admin: int, figures: dict[str, float], *, loaded: bool) -> int:
    """Every claim of the example; 0 when all hold."""
    checks = Checks()
    with db.connect(owner_url) as conn:
        _rows_and_jobs(checks, conn, figures, loaded)
        _nearest(checks, conn, figures)
        _live(checks, conn, Site(web), figures)
    _api(checks, Site(web))
    _related(checks, Site(web))
    _operations(checks, Site(admin))
    print("\n".join(f"{name}: {value:.4g}" for name, value in figures.items()))
    print(f"{'all checks held' if not checks.failed else f'{checks.failed} checks FAILED'}")
    return 1 if checks.failed else 0


def _rows_and_jobs(checks: Checks, conn: Any, figures: dict[str, float], loaded: bool) -> None:
    counts = {
        table: conn.execute(f"select count(*) from {table}").fetchone()[0]
        for table in ("countries", "airports", "flights")
    }
    checks.that("28,298 airports", counts["airports"] == 28298, counts["airports"])
    checks.that("every airport has its country", counts["countries"] >= 234, counts["countries"])
    checks.that("flights", counts["flights"] == data.FLIGHTS, counts["flights"])
    started = time.monotonic()
    left = _until(lambda: _open_jobs(conn) == 0, JOBS_DEADLINE)
    if loaded:
        figures["seconds until every job was done"] = time.monotonic() - started
    states = dict(conn.execute("select state, count(*) from forge_job group by state").fetchall())
    checks.that("every job completed", left and set(states) <= {"completed"}, states)
    found = conn.execute(
        "select count(*) from airports where nearest_id is not null and nearest_km is not null"
    ).fetchone()[0]
    checks.that("every airport knows its nearest", found == 28298, found)


def _open_jobs(conn: Any) -> int:
    query = (
        "select count(*) from forge_job where state not in ('completed','discarded','cancelled')"
    )
    return int(conn.execute(query).fetchone()[0])


def _nearest(checks: Checks, conn: Any, figures: dict[str, float]) -> None:
    """The worker's own query, timed by the server, at places all over the world."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from resources.airport.nearest import NEAREST, boxes

    places = conn.execute(
        "select id, latitude::float8, longitude::float8, nearest_km::float8 from airports"
        " order by md5(id::text) limit 200"
    ).fetchall()
    times, indexed = [], True
    for id, latitude, longitude, km in places:
        params = {
            "id": id,
            "latitude": latitude,
            "longitude": longitude,
            "boxes": boxes(latitude, longitude, max(0.05, km / 111 * 1.001)),
        }
        (plan,) = conn.execute("explain (analyze, format json) " + NEAREST, params).fetchone()
        times.append(plan[0]["Execution Time"])
        indexed = indexed and "airports_position_idx" in json.dumps(plan)
    figures["nearest query, median ms"] = statistics.median(times)
    checks.that("nearest uses the hand-written index", indexed)
    checks.that(
        "nearest takes at most 1 ms",
        statistics.median(times) <= 1.0,
        f"{statistics.median(times):.3f} ms",
    )


def _live(checks: Checks, conn: Any, site: Site, figures: dict[str, float]) -> None:
    """A change of a flight reaches a plain SSE client, and its hook's job is done."""
    id = data.flight_id(7)
    stream = _Stream(site.port, "/events?topic=flights")
    status, headers, body = site.ask("GET", f"/api/v1/flights/{id}")
    checks.that("a flight by id, with an ETag", status == 200 and "etag" in headers, status)
    gate = "Z1" if json.loads(body)["gate"] != "Z1" else "Z2"
    started = time.monotonic()
    status, headers, body = site.ask("PATCH", f"/api/v1/flights/{id}", {"gate": gate})
    checks.that("PATCH of a flight", status == 200 and json.loads(body)["gate"] == gate, status)
    seen = stream.wait_for(b"flight.updated", str(id).encode(), EVENT_DEADLINE)
    figures["ms from PATCH to the event"] = (time.monotonic() - started) * 1000
    checks.that("its event arrived over SSE", seen)
    stream.close()
    query = (
        "select count(*) from forge_job where kind = 'NotifyGate' and args->>'id' = %s"
        " and state = 'completed' and (args->>'version')::bigint = %s"
    )
    version = json.loads(body)["version"]
    done = _until(lambda: conn.execute(query, [str(id), version]).fetchone()[0] == 1, 10)
    checks.that("its NotifyGate job completed", done)


def _api(checks: Checks, site: Site) -> None:
    id = data.flight_id(8)
    _, headers, body = site.ask("GET", f"/api/v1/flights/{id}")
    status, _, _ = site.ask("PATCH", f"/api/v1/flights/{id}", {"gate": "A1"}, If_Match='"9999"')
    checks.that("a stale If-Match is 412", status == 412, status)
    status, headers, body = site.ask("POST", "/api/v1/flights", {"number": 7, "wings": 2})
    pointers = [e["pointer"] for e in json.loads(body).get("errors", [])]
    good = status == 422 and headers["content-type"] == "application/problem+json"
    checks.that("a wrong flight is 422 with every pointer", good and len(pointers) >= 4, pointers)
    status, _, body = site.ask("GET", "/api/v1/airports?limit=2&sort=icao&iata[is_null]=false")
    page = json.loads(body)
    checks.that("a list with a filter and a sort", status == 200 and len(page["data"]) == 2)
    cursor = page["pagination"]["next"]
    status, _, body = site.ask(
        "GET", f"/api/v1/airports?limit=2&sort=icao&iata[is_null]=false&cursor={cursor}"
    )
    after = json.loads(body)["data"]
    checks.that(
        "its next page continues", status == 200 and after[0]["icao"] > page["data"][1]["icao"]
    )
    status, _, _ = site.ask("POST", f"/api/v1/flights/{data.flight_id(9)}/cancel")
    checks.that("the custom verb cancels a flight", status == 200, status)
    status, headers, body = site.ask("GET", "/")
    good = status == 200 and f"flights-{data.flight_id(9)}".encode() in body
    checks.that(
        "the board shows it", good and "default-src 'self'" in headers["content-security-policy"]
    )
    status, _, body = site.ask("GET", "/api/openapi.json")
    checks.that("OpenAPI 3.1", status == 200 and json.loads(body)["openapi"].startswith("3.1"))


def _related(checks: Checks, site: Site) -> None:
    """Search, relations, history, and a create that is sent twice."""

    def get(path: str) -> Any:
        return json.loads(site.ask("GET", f"/api/v1/{path}")[2])

    found = [airport["icao"] for airport in get("airports?q=heathrow+london")["data"]]
    checks.that("search finds an airport", "EGLL" in found, found)
    flight = get(f"flights/{data.flight_id(7)}?include=origin,destination")
    good = all(flight[end]["id"] == flight[f"{end}_id"] for end in ("origin", "destination"))
    checks.that("a flight with its airports", good)
    departures = get(f"airports/{flight['origin_id']}?include=departures")["departures"]
    checks.that("an airport with its flights", flight["id"] in {row["id"] for row in departures})
    last = get(f"flights/{flight['id']}/audit")["data"][0]
    good = last["operation"] == "update" and last["changes"]["gate"][1] == flight["gate"]
    checks.that("its history has the change of gate", good, last["changes"])
    names = ("number", "origin_id", "destination_id", "departs_at", "arrives_at")
    body = {name: flight[name] for name in names}
    key = f"smoke-{time.time_ns()}"
    sent = [site.ask("POST", "/api/v1/flights", body, Idempotency_Key=key) for _ in range(2)]
    good = sent[0][0] == sent[1][0] == 201 and sent[0][2] == sent[1][2]
    checks.that("a create that is sent twice is done once", good, [status for status, _, _ in sent])
    status, _, _ = site.ask("DELETE", sent[0][1]["location"])
    checks.that("and is deleted", status == 204, status)


def _operations(checks: Checks, site: Site) -> None:
    status, _, body = site.ask("GET", "/healthz")
    checks.that("/healthz", status == 200 and json.loads(body)["status"] == "ok", body.decode())
    status, _, body = site.ask("GET", "/readyz")
    checks.that("/readyz", status == 200, body.decode())
    status, _, body = site.ask("GET", "/metrics")
    wanted = (
        b"forge_http_request_duration_seconds_count",
        b"forge_sse_events_sent_total",
        b"forge_build_info",
    )
    checks.that(
        "/metrics", status == 200 and all(name in body for name in wanted), f"{len(body)} bytes"
    )


class _Stream:
    """A plain SSE client: a socket, and a thread that reads it to its end."""

    def __init__(self, port: int, path: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._seen = b""
        self._more = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        if not self.wait_for(b"text/event-stream", b"\r\n\r\n", 10):
            raise SystemExit(f"no stream at {path}: {self._seen[:200]!r}")

    def _read(self) -> None:
        try:
            while chunk := self._sock.recv(65536):
                with self._more:
                    self._seen += chunk
                    self._more.notify_all()
        except OSError:
            return

    def wait_for(self, first: bytes, second: bytes, seconds: float) -> bool:
        """Whether both came within the deadline."""
        with self._more:
            return self._more.wait_for(
                lambda: first in self._seen and second in self._seen, seconds
            )

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll another process's database until `done` or the deadline."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def keep_changing(web: int) -> None:
    """Change a flight every two seconds, so that the board has something to show."""
    site = Site(web)
    turn = 0
    while True:
        time.sleep(2)
        status = STATUSES[turn % len(STATUSES)]
        turn += 1
        try:
            id = data.flight_id(turn * 7 % 50)
            site.ask(
                "PATCH", f"/api/v1/flights/{id}", {"status": status, "gate": f"B{turn % 40 + 1}"}
            )
        except OSError as err:
            raise SystemExit(f"the application is gone: {err}") from err
