"""What pages of other sites may do, through the whole of an application."""

from __future__ import annotations

import re

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


def test_a_session_writes_with_proof_that_a_page_of_ours_asks(wide_database: TestDatabase) -> None:
    """A browser says where a write comes from; a client that does not must send the token."""
    with db.connect(wide_database.app_url) as conn:
        anna = accounts.create_user(conn, "anna@example.com")
        session = credentials.start_session(conn, anna, 3600.0, credentials.Browser())
        other = credentials.start_session(conn, anna, 3600.0, credentials.Browser())
    with running_app(wide_database) as running:
        client = Client(running)

        def token(session: str) -> str:
            page = client.get("/account/password", headers={"Cookie": f"forge_session={session}"})
            return re.findall(r'name="_csrf_token" value="([^"]+)"', page.text)[0]

        cookie = {"Cookie": f"forge_session={session}"}
        ours, theirs = token(session), token(other)
        proofs: dict[str, tuple[dict[str, str], bool]] = {
            "nothing": ({}, False),
            "the token": ({"X-CSRF-Token": ours}, True),
            "the token of another session": ({"X-CSRF-Token": theirs}, False),
            "a malformed token": ({"X-CSRF-Token": "x"}, False),
            "an empty token": ({"X-CSRF-Token": ""}, False),
            "this site": ({"Sec-Fetch-Site": "same-origin"}, True),
            "another site of the domain": ({"Sec-Fetch-Site": "same-site"}, False),
            "this site, a token of another session": (
                {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": theirs}, False,
            ),
            "another site, and the token": (
                {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": ours}, False,
            ),
            "no origin": ({"Origin": "null"}, False),
        }  # fmt: skip
        for n, (name, (headers, is_proof)) in enumerate(proofs.items()):
            row = {"code": f"D{n}", "class": f"D{n}"}
            for method, path in (("POST", CLASSES), ("PATCH", f"{CLASSES}/D{n}")):
                answer = client.request(method, path, json=row, headers={**cookie, **headers})
                assert (answer.status < 300) is is_proof, (name, method, answer.status)
                assert is_proof or answer.json["code"] == "F527"
