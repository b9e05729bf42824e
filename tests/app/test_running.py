"""A started application: what it refuses to start with, what it gives to its parts."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from forge_min import db, i18n
from forge_min.app import Runtime
from forge_min.errors import ConfigError, ForgeError, Unavailable
from forge_min.observe import render_metrics
from forge_min.observe.metrics import meter
from forge_min.observe.metrics.registry import base_name
from forge_min.testing import Client, TestDatabase, running_app
from forge_min.wsgi import ServerThread
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from catalogues import catalogues, write_catalogue
from round_trips import counting_proxy
from waiting import wait_for

pytestmark = pytest.mark.db
OTHERS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
)


def test_a_project_with_tenants_does_not_start_as_the_owner_of_its_tables(
    wide_database: TestDatabase,
) -> None:
    as_owner = TestDatabase("", wide_database.owner_url, wide_database.owner_url)
    with pytest.raises(ConfigError) as caught, running_app(as_owner):
        pass
    assert caught.value.code == "F412"
    for table in ("forge_audit", "orders"):
        assert table in caught.value.message
    assert caught.value.hint is not None


def test_a_start_that_is_refused_runs_no_hook_and_can_be_tried_again_for_hours(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    app = import_module("app").app
    monkeypatch.setattr(app, "start_hooks", [lambda: called.append("start")])
    monkeypatch.setattr(app, "stop_hooks", [lambda: called.append("stop")])
    down = TestDatabase("", wide_database.owner_url, "postgresql://x@127.0.0.1:1/none")
    before = open_files()
    for _ in range(3):
        with pytest.raises(Unavailable) as caught, running_app(down):
            pass
        assert caught.value.code == "F401" and called == []
    assert open_files() == before, "each attempt leaves a few"


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_a_start_that_fails_leaves_neither_a_connection_nor_a_thread(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(schedules: object, catalogue: object) -> None:
        raise ForgeError("a worker does not fit", code="F703")

    monkeypatch.setattr("forge_min.jobs.check_periodic", failing)
    before = {thread.ident for thread in threading.enumerate()}
    with db.connect(wide_database.owner_url) as owner:
        for _ in range(5):
            with pytest.raises(ForgeError), running_app(wide_database):
                pass
        until = time.monotonic() + 10
        while owner.execute(OTHERS).fetchone() != (0,):
            assert time.monotonic() < until, "a connection is left"
            time.sleep(0.01)
    # What was told to end may take a moment.
    while left := [t.name for t in threading.enumerate() if t.ident not in before]:
        assert time.monotonic() < until, left
        time.sleep(0.01)


def test_a_secret_of_the_configuration_signs_and_without_one_each_process_has_its_own(
    wide_database: TestDatabase,
) -> None:
    secrets = []
    for environ in ({"FORGE_AUTH_SECRET": "s" * 32}, {}, {}):
        with running_app(wide_database, **environ) as running:
            secrets.append(running.registry.secret)
    assert secrets[0] == b"s" * 32
    assert len(set(secrets)) == 3 and all(len(secret) >= 32 for secret in secrets)


def test_the_catalogues_of_the_project_are_known_when_it_serves(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    write_catalogue(wide_code / "locale", "de", {"is required": "wird gebraucht"})
    try:
        with running_app(wide_database) as running:
            assert list(i18n.LANGUAGES) == ["de"]
            german = {"Accept-Language": "de"}
            answer = Client(running).post("/api/v1/lines", json={"slug": "u1"}, headers=german)
            assert answer.json["errors"][0]["message"] == "wird gebraucht"
    finally:
        shutil.rmtree(wide_code / "locale")
        with catalogues(wide_code / "none", {}):
            pass


def test_an_idempotency_key_of_nobody_is_of_the_address_that_sends_it(site: Runtime) -> None:
    def create(address: str) -> int:
        client = Client(lambda e, start: site.application(e | {"REMOTE_ADDR": address}, start))
        row, key = {"code": "AB", "class": "x"}, {"Idempotency-Key": "k"}
        return client.post("/api/v1/classes", json=row, headers=key).status

    # Where the key is another's, the row that is there already is in the way.
    places = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    assert [create(address) for address in places] == [201, 201, 409, 201]


def test_it_is_ready_with_its_migrations_applied(site: Runtime) -> None:
    ready, reasons = site.ready()
    assert "migrations" not in reasons and "database" not in reasons, (ready, reasons)


def test_it_is_ready_from_its_first_read_of_events_on_also_without_the_hub(
    wide_database: TestDatabase,
) -> None:
    """A probe decides about requests: they are answered while the hub has lost its connection."""
    with counting_proxy(wide_database.app_url) as proxy, ExitStack() as stack:
        with proxy.held():
            started = running_app(wide_database, FORGE_DATABASE_DIRECT_URL=proxy.url)
            running = stack.enter_context(started)
            ready, reasons = running.ready()
            assert not ready and set(reasons) == {"hub"}
        wait_for(lambda: running.ready() == (True, {}))
        assert shown(running, "forge_notify_hubs_down") == 0
        proxy.close()
        wait_for(lambda: "hub" in running.ready()[1])
        ready, reasons = running.ready()
        assert ready and reasons["hub"].startswith("F4")
        assert shown(running, "forge_notify_hubs_down") == 1
        assert Client(running).get("/readyz").status == 200
        assert Client(running).get("/api/v1/lines").status == 200


def shown(running: Runtime, name: str) -> float:
    """The value of a gauge in /metrics."""
    lines = render_metrics(running.metrics.registry).decode().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return float(value)


def test_a_reader_of_opentelemetry_sees_every_series_while_it_runs(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(meter, "global_provider", lambda: provider)

    def told() -> dict[str, Any]:
        data = reader.get_metrics_data()
        scopes = [s for r in data.resource_metrics for s in r.scope_metrics] if data else []
        return {m.name: m.data.data_points for scope in scopes for m in scope.metrics}

    with running_app(wide_database) as running:
        assert Client(running).get("/api/v1/lines").status == 200
        found = told()
        registry = running.metrics.registry
        wanted = {base_name(f.name, f.kind) for f in registry.collect() if f.kind != "histogram"}
        wanted -= {"forge_spans_dropped"}  # nothing is exported, so nothing was lost
        wanted -= {"forge_metrics_overflow", "forge_jobs", "forge_jobs_inserted", "forge_build"}
        assert wanted | {"forge_build_info"} <= found.keys()
        (point,) = found["forge_http_request_duration_seconds_count"]
        assert point.value == 1 and point.attributes["route"] == "/api/v1/lines"
    assert told() == {}
    provider.shutdown()


def test_only_a_connection_of_the_servers_thread_may_block(site: Runtime) -> None:
    blocks: dict[str, bool] = {}

    def ask(name: str) -> None:
        blocks[name] = site.database.connection().may_block

    ask("this")
    other = threading.Thread(target=ask, args=["other"], name="http-1")
    ours = ServerThread(target=ask, args=["ours"])
    for thread in (other, ours):
        thread.start()
        thread.join()
    assert blocks == {"this": False, "other": False, "ours": True}
