"""Tenants named by the host of a request, through the whole of an application."""

from __future__ import annotations

from dataclasses import replace

import pytest
from forge_min import notify
from forge_min.errors import ForgeError
from forge_min.testing import Client, TestDatabase, running_app

from .conftest import Anna

pytestmark = pytest.mark.db

OURS, OTHERS, NONE = "", "F605", "F620"
DOMAIN = {
    "north.shop.example": OURS,
    "NORTH.Shop.Example:8000": OURS,
    "north.shop.example.": OURS,
    "north.shop.example.:8000": OURS,
    "south.shop.example": OTHERS,
    "nobody.shop.example": OTHERS,
    "app.north.shop.example": NONE,
    "shop.example": NONE,
    "www.shop.example": NONE,
    ".shop.example": NONE,
    "north.evil.example": NONE,
    "north.shop.example.evil.example": NONE,
    "northshop.example": NONE,
    "north.localhost": NONE,
    "127.0.0.1:8000": NONE,
    "[::1]:8000": NONE,
}
FIRST_LABEL = {
    "north.shop.example": OURS,
    "north.shop.example.": OURS,
    "north.localhost:8000": OURS,
    "north.localhost.": OURS,
    "shop.example": NONE,
    "shop.example.": NONE,
    "www.shop.example": NONE,
    "localhost": NONE,
    "127.0.0.1": NONE,
}


@pytest.mark.parametrize(("domain", "hosts"), [("Shop.Example", DOMAIN), ("", FIRST_LABEL)])
def test_a_host_names_a_tenant_or_none(
    wide_database: TestDatabase, anna: Anna, domain: str, hosts: dict[str, str]
) -> None:
    environ = {"FORGE_TENANCY_STRATEGY": "subdomain", "FORGE_TENANCY_DOMAIN": domain}
    with running_app(wide_database, **environ) as running:
        client = Client(running)
        answers = {
            host: client.get("/api/v1/accounts", headers={**anna.headers, "Host": host})
            for host in hosts
        }
    assert {host: answer.json.get("code", "") for host, answer in answers.items()} == hosts


def test_a_cache_keeps_the_rows_of_two_tenants_apart(
    wide_database: TestDatabase, anna: Anna
) -> None:
    with running_app(wide_database, FORGE_TENANCY_STRATEGY="header") as running:
        sent = {**anna.headers, "X-Tenant-ID": "north"}
        found = Client(running).get("/api/v1/tags", headers=sent)
    assert found.status == 200 and found.headers["Vary"] == "X-Tenant-ID, Authorization"


def test_own_sql_and_events_without_a_tenant_are_errors(
    wide_database: TestDatabase, anna: Anna
) -> None:
    for env, refused in (("development", True), ("test", False)):
        with running_app(wide_database, FORGE_ENV=env) as running:
            conn = running.database.connection()
            if refused:
                with pytest.raises(ForgeError) as caught:
                    conn.execute("select count(*) from tags")
                assert caught.value.code == "F418"
            else:
                assert conn.execute("select count(*) from tags").fetchall() == [(0,)]
            event = notify.Event("tags", "tag.polished", "red")
            with pytest.raises(ForgeError) as caught:
                notify.publish_tx(conn, event)
            assert caught.value.code == "F417"
            notify.publish_tx(conn, replace(event, tenant_id=anna.north))
            notify.publish_tx(conn, notify.Event("stations", "station.polished"))
