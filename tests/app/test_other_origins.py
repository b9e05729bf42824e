"""What pages of other sites may do, through the whole of an application."""

from __future__ import annotations

import pytest
from forge_min import db
from forge_min.auth import accounts, credentials
from forge_min.testing import Client, TestDatabase, running_app

pytestmark = pytest.mark.db
SHOP, OTHER = "https://shop.example", "https://other.example"
CLASSES = "/api/v1/classes"  # open to anybody


def write(client: Client, origin: str, **more: str) -> tuple[int, str]:
    """(status, code) of a write as a browser sends it for a page of another site."""
    sent = {"Origin": origin, "Sec-Fetch-Site": "cross-site", **more}
    fresh = f"C{len(client.get(CLASSES).json['data'])}"
    row = {"code": fresh, "class": fresh}
    answer = client.post(CLASSES, json=row, headers=sent)
    return answer.status, answer.json.get("code") if answer.status > 400 else ""


@pytest.mark.parametrize("origins", ["*", SHOP])
def test_a_write_of_another_site_passes_where_it_is_allowed_and_acts_as_nobody_of_ours(
    wide_database: TestDatabase, origins: str
) -> None:
    with db.connect(wide_database.app_url) as conn:
        anna = accounts.create_user(conn, "anna@example.com")
        key = credentials.create_key(conn, anna)
        session = credentials.start_session(conn, anna, 3600.0, credentials.Browser())
    cookie = {"Cookie": f"a=b; forge_session={session}"}
    bearer = {"Authorization": f"Bearer {key}"}
    with running_app(wide_database, FORGE_API_CORS_ORIGINS=f'["{origins}"]') as running:
        client = Client(running)
        for origin in (SHOP, OTHER):
            good = origins in ("*", origin)
            asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            allowed = client.request("OPTIONS", CLASSES, headers=asks).headers
            assert allowed["Access-Control-Allow-Origin"] == (origins if good else None)
            expected = (201, "") if good else (403, "F527")
            assert write(client, origin) == expected
            assert write(client, origin, Cookie="a=b; forge_csrf=c") == expected
            assert write(client, origin, **bearer) == expected
            if origins == "*":
                for more in (cookie, {**cookie, **bearer}):
                    assert write(client, origin, **more) == (403, "F527")
        assert write(client, OTHER, **cookie) == (403, "F527")
