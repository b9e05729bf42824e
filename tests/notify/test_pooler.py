"""The hub behind PgBouncer in transaction mode: it notices, polls, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from forge_min import db, notify
from forge_min.notify import Event

pytestmark = pytest.mark.db


def event(number: int) -> Event:
    return Event("flights", "flight.updated", resource_id=str(number), version=1)


@pytest.mark.parametrize("prepared", [100, 0])
def test_behind_a_pooler_the_hub_polls_and_says_so(
    factory: Any, kit: Any, pooled: Callable[..., str], prepared: int, caplog: Any
) -> None:
    url = pooled(factory.database.app_url, prepared)
    prepare = "auto" if prepared else "off"
    hub = notify.PostgresHub(
        lambda: db.connect(url, prepare=prepare), kit.begin(), poll_interval=0.05
    )
    factory.hubs.append(hub)
    hub.start()
    kit.wait_for(lambda: hub.ready[0])
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    assert hub._listener.polls and "pooler" in caplog.text
    with db.connect(url, prepare=prepare) as conn:
        for n in range(50):
            notify.publish_tx(conn, event(n))
        listener.count(50)
        assert sorted(map(int, listener.heard)) == list(range(50)) and listener.refreshes == 0
        # What the hub needs for its own statements must not reach the sessions of others.
        for _ in range(5):
            assert conn.execute("show enable_seqscan").fetchone() == ("on",)
    again = hub.subscribe(kit.key(), listener.ids[-2])
    assert b"refresh" not in again.first and hub.reconnects == 0


def test_a_direct_connection_listens_while_the_pooler_carries_the_rest(
    factory: Any, kit: Any, pooled: Callable[..., str]
) -> None:
    url = pooled(factory.database.app_url)
    hub = factory.hub(poll_interval=60.0, heartbeat=60.0)
    assert not hub._listener.polls
    listener = kit.Listener(hub.subscribe(kit.key())[0])
    with db.connect(url, nudger=factory.nudger()) as conn, db.transaction(conn):
        notify.publish_tx(conn, event(1))
    listener.until(lambda me: me.heard == ["1"])
