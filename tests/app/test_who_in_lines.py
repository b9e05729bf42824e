"""Who asked is in the line of a request: user, tenant, and the route also where one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from forge_min import db
from forge_min.auth import accounts, keys
from forge_min.testing import Client, TestDatabase, running_app

pytestmark = pytest.mark.db
PATH = "/api/v1/accounts"


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    return [row for row in rows if row["logger"] == "forge_min.access"]


def test_a_line_names_user_and_tenant(
    wide_database: TestDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    with db.connect(wide_database.app_url) as conn:
        anna = accounts.create_user(conn, "anna@example.com", roles=["member", "manager"])
        north, south = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
        accounts.grant(conn, anna, [], north)
        bearer = {"Authorization": f"Bearer {keys.create_key(conn, anna)}"}
    environ = {"FORGE_OBSERVE_LOG_FORMAT": "json", "FORGE_TENANCY_STRATEGY": "header"}
    with running_app(wide_database, **environ) as running:
        client = Client(running)
        for tenant in ("north", "south"):
            client.get(PATH, headers={**bearer, "X-Tenant-ID": tenant})
        client.get(PATH, headers={"Authorization": "Bearer nonsense"})
        client.get("/api/v1/nothing/of/it", headers=bearer)
    allowed, others, nobody, nowhere = lines(capfd)
    assert (allowed["status"], allowed["user_id"], allowed["tenant_id"]) == (
        200,
        str(anna),
        str(north),
    )
    assert others["status"] in (403, 404) and str(south) not in json.dumps(others)
    assert nobody["status"] == 401 and "user_id" not in nobody
    assert [row["route"] for row in (allowed, others, nobody)] == [PATH] * 3
    assert nowhere["user_id"] == str(anna) and "route" not in nowhere
    assert len({row["request_id"] for row in (allowed, others, nobody, nowhere)}) == 4
