"""What happens to events when writers are killed, servers crash, transactions are prepared, and
dumps are restored elsewhere: nothing is lost without a refresh, nothing comes early or again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min import db, notify
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import Binaries, find, installed
from forge_min.errors import ForgeError
from forge_min.notify import Event

pytestmark = [pytest.mark.db, pytest.mark.slow]
SETTINGS = {
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",  # what was committed stays out of the log for long
    "max_prepared_transactions": "10",
}
KILLED = """
import sys, time
from forge_min import db, notify
conn = db.connect(sys.argv[1])
for n in range(50):
    notify.publish_tx(conn, notify.Event("flights", "flight.updated", str(n), 1))
conn.execute("begin")
notify.publish_tx(conn, notify.Event("flights", "flight.updated", "never", 1))
print("open", flush=True)
time.sleep(60)
"""


def event(number: object) -> Event:
    return Event("flights", "flight.updated", resource_id=str(number), version=1)


class Site:
    """A server of the test's own, with hubs on it."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.hubs: list[notify.PostgresHub] = []

    def migrate(self) -> None:
        with db.connect(self.server.owner_url) as conn:
            db.migrate(conn, db.FORGE_MIGRATIONS)
            self.grant(conn)

    def grant(self, conn: db.Connection) -> None:
        db.ensure_app_role(conn, self.server.app_role, password=None)

    def connect(self) -> db.Connection:
        return db.connect(self.server.app_url)

    def hub(self, kit: Any) -> notify.PostgresHub:
        hub = notify.PostgresHub(self.connect, kit.begin(), poll_interval=0.02, ring=4096)
        self.hubs.append(hub)
        hub.start()
        kit.wait_for(lambda: hub.ready[0])
        return hub


@pytest.fixture(params=installed() or [find()], ids=lambda b: f"pg{b.major}")
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A server that may be broken."""
    binaries: Binaries = request.param
    with EmbeddedServer(tmp_path / "pg", settings=SETTINGS, bin=binaries.folder) as server:
        made = Site(server)
        made.migrate()
        try:
            yield made
        finally:
            for hub in made.hubs:
                hub.stop()


@pytest.mark.thorough
def test_a_killed_writer_leaves_what_it_committed_and_nothing_else(site: Site, kit: Any) -> None:
    listener = kit.Listener(site.hub(kit).subscribe(kit.key())[0])
    command = [sys.executable, "-c", KILLED, site.server.app_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "open\n"
        writer.kill()
    listener.count(50)
    with site.connect() as conn:
        notify.publish_tx(conn, event("after"))
    listener.until(lambda me: "after" in me.heard)
    assert sorted(listener.heard) == sorted([*map(str, range(50)), "after"])
    assert listener.refreshes == 0


@pytest.mark.thorough
def test_a_prepared_transaction_is_heard_when_it_is_committed_and_once(
    site: Site, kit: Any
) -> None:
    hub = site.hub(kit)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    with site.connect() as conn:
        for name in ("kept", "dropped"):
            conn.execute("begin")
            notify.publish_tx(conn, event(name))
            conn.execute(f"prepare transaction '{name}'")
        for n in range(20):
            notify.publish_tx(conn, event(n))
        listener.count(20)
        late = kit.Listener(site.hub(kit).subscribe(kit.key())[0])  # another reader begins now
        conn.execute("commit prepared 'kept'")
        conn.execute("rollback prepared 'dropped'")
        notify.publish_tx(conn, event("after"))
    for one, before in ((listener, [str(n) for n in range(20)]), (late, [])):
        one.until(lambda me: {"after", "kept"} <= set(me.heard))
        assert sorted(one.heard) == sorted([*before, "kept", "after"]) and one.refreshes == 0


@pytest.mark.thorough
def test_a_crash_that_takes_commits_back_refreshes_everybody(site: Site, kit: Any) -> None:
    listeners = [kit.Listener(site.hub(kit).subscribe(kit.key())[0]) for _ in range(2)]
    done: list[int] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            try:
                with site.connect() as conn:
                    while not stop.is_set():
                        number += 1
                        notify.publish_tx(conn, event(number))
                        done.append(number)
                        stop.wait(0.001)
            except (psycopg.Error, ForgeError):
                stop.wait(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        lost = 0
        for _ in range(3):
            for listener in listeners:
                listener.until(lambda me: len(me.frames) > 200)
            known = len(done)
            with db.connect(site.server.admin_url) as admin:
                pid = admin.info.backend_pid
                os.kill(pid, signal.SIGKILL)  # the postmaster ends all and recovers
            kit.wait_for(lambda known=known: len(done) > known + 200, 60)
            with db.connect(site.server.owner_url) as conn:
                ((there,),) = conn.execute(
                    "select count(*) from forge_event where resource_id::int = any(%s)",
                    [done[:known]],
                )
            lost += known - there
            for listener in listeners:
                listener.until(lambda me: me.refreshes >= 1)
                # From the refresh on, the page shows what is there: later commits must all come.
                place = [b"event: refresh" in f for f in listener.frames].index(True)
                listener.frames = listener.frames[place + 1 :]
    finally:
        stop.set()
        writer.join(30)
    assert lost > 0, "no commit was taken back: this crash tested nothing"
    with site.connect() as conn:
        notify.publish_tx(conn, event(0))
        alive = {row[0] for row in conn.execute("select resource_id from forge_event")}
    for listener in listeners:
        listener.until(lambda me: "0" in me.heard)
        heard = listener.heard
        assert len(heard) == len(set(heard)), "an event came twice"
        first = min((int(n) for n in heard if n != "0"), default=1 << 60)
        wanted = {n for n in alive if int(n) >= first}
        assert wanted <= {*heard, "0"}, "committed, there, and never heard of"


@pytest.mark.thorough
def test_a_dump_restored_into_another_cluster_repeats_nothing(
    site: Site, kit: Any, tmp_path: Path
) -> None:
    hub = site.hub(kit)
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    with site.connect() as conn:
        conn.execute("select pg_current_xact_id() from generate_series(1, 2)")
        for n in range(30):
            notify.publish_tx(conn, event(n))
    listener.count(30)
    folder = Path(site.server.bin or "")
    options = ["--no-owner", "--no-privileges", site.server.admin_url]
    dump = subprocess.run([folder / "pg_dump", *options], capture_output=True, check=True)
    with EmbeddedServer(tmp_path / "other", bin=folder) as server:
        other = Site(server)
        load = [folder / "psql", "-q", "-v", "ON_ERROR_STOP=1", server.owner_url]
        text = re.sub(rb"^\\(un)?restrict .*$", b"", dump.stdout, flags=re.M)
        with db.connect(server.owner_url) as conn:
            conn.execute("drop schema public cascade; create schema public")
        done = subprocess.run(load, input=text, capture_output=True)
        assert done.returncode == 0, done.stderr
        with db.connect(server.owner_url) as conn:
            other.grant(conn)
        there = other.hub(kit)
        try:
            again = kit.Listener(there.subscribe(kit.key())[0])
            returning = there.subscribe(kit.key(), listener.ids[10])
            assert b'"reason":"resume"' in returning.first
            with other.connect() as conn:
                notify.publish_tx(conn, event("new"))
            again.until(lambda me: "new" in me.heard)
            assert again.heard == ["new"]
        finally:
            there.stop()
