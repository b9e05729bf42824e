"""Who asked is in the line of a request: user, tenant, and the route also where one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from forge_min.testing import Client, TestDatabase, running_app

from .conftest import Anna

pytestmark = pytest.mark.db
PATH = "/api/v1/accounts"


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    return [row for row in rows if row["logger"] == "forge_min.access"]


def test_a_line_names_user_and_tenant(
    wide_database: TestDatabase, anna: Anna, capfd: pytest.CaptureFixture[str]
) -> None:
    bearer, north, south = anna.headers, anna.north, anna.south
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
        str(anna.id),
        str(north),
    )
    assert others["status"] in (403, 404) and str(south) not in json.dumps(others)
    assert nobody["status"] == 401 and "user_id" not in nobody
    assert [row["route"] for row in (allowed, others, nobody)] == [PATH] * 3
    assert nowhere["user_id"] == str(anna.id) and "route" not in nowhere
    assert len({row["request_id"] for row in (allowed, others, nobody, nowhere)}) == 4
