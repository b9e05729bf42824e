"""Reads from a standby that applies everything half a second late."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from artifact_runner import Site
from cluster import Cluster

pytestmark = pytest.mark.failover

AIRPORT = "/api/v1/airports/{}"
WRITES, READS = 250, 40  # each of four clients


def commits(servers: Cluster, name: str) -> int:
    """Transactions of this server's database."""
    url = servers.url("postgres", "departures", name).partition("?")[0]
    with psycopg.connect(url, autocommit=True) as conn:
        text = "select xact_commit from pg_stat_database where datname = 'departures'"
        return int(conn.execute(text).fetchall()[0][0])


def test_no_client_misses_its_own_writes(servers: Cluster, site: Site) -> None:
    primary = servers.primary()
    (standby,) = servers.ports.keys() - {primary}
    servers.configure(recovery_min_apply_delay="500ms")
    url = servers.url("app", "departures", standby).partition("?")[0]
    site.serve(FORGE_DATABASE_REPLICA_URLS=json.dumps([url]))
    country = site.create("countries", {"code": "DE", "name": "Germany"})["id"]
    place = {"latitude": "1", "longitude": "2", "country_id": country, "name": "0"}
    outcomes: Counter[str] = Counter()

    def write_and_read(client: int) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        row = site.create("airports", {**place, "icao": f"A{client}"})["id"]
        path = AIRPORT.format(row)
        for number in range(WRITES):
            wanted = f"{client} {number}"
            status, headers, body = site.ask("PATCH", path, {"name": wanted}, kept=kept)
            assert status == 200, body
            position = headers["forge-position"]
            for _ in range(READS // 4):
                _, _, body = site.ask("GET", path, kept=kept, Forge_Position=position)
                outcomes["own" if json.loads(body)["name"] == wanted else "stale"] += 1
        kept.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_read, range(4)))
    assert outcomes == {"own": 4 * WRITES * READS // 4}

    # A read without a position is the primary's, a position of another cluster, too.
    status, headers, body = site.ask("PATCH", AIRPORT.format(row_of(site)), {"name": "last"})
    position = headers["forge-position"]
    cluster, _, rest = position.partition(".")
    wrong = [{}, {"Forge_Position": f"1.{rest}"}, {"Forge_Position": "x"}]
    wrong += [{"Forge_Position": f"{cluster}.000000FF.1"}, {"Cookie": f"forge_position={position}"}]
    for more in wrong:
        _, _, body = site.ask("GET", AIRPORT.format(row_of(site)), **more)
        assert json.loads(body)["name"] == "last", more

    # Nine of ten others are read from the standby: by its own count.
    time.sleep(12)
    before = commits(servers, standby)
    for _ in range(300):
        assert site.ask("GET", "/api/v1/airports?limit=2", Forge_Consistency="eventual")[0] == 200
    # A server publishes the counts of an idle session within ten seconds.
    servers.wait(lambda: commits(servers, standby) - before >= 270, "reads of the standby")

    # The standby goes and comes back: no request fails.
    seen: Counter[int] = Counter()
    ending = threading.Event()

    def read() -> None:
        while not ending.is_set():
            for more in ({"Forge_Consistency": "eventual"}, {"Forge_Position": position}, {}):
                seen[site.ask("GET", "/api/v1/airports?limit=2", **more)[0]] += 1

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        time.sleep(1)
        servers.signal(standby, signal.SIGKILL)
        time.sleep(5)
        servers.start(standby)
        assert servers.primary() == primary
        time.sleep(2)
        ending.set()
        for reader in readers:
            reader.result()
    assert seen.keys() == {200}, seen


def row_of(site: Site) -> str:
    """The first airport."""
    _, _, body = site.ask("GET", "/api/v1/airports?limit=1&sort=icao")
    return str(json.loads(body)["data"][0]["id"])
