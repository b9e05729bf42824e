"""Conditions on related rows over HTTP: JSON, pages and CSV find the same rows."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from forge_min.app import Runtime
from forge_min.testing import Client

pytestmark = pytest.mark.db


def who(*roles: str) -> dict[str, str]:
    tenant = str(UUID(int=1))
    return {"X-Test-User": "ann", "X-Test-Roles": ",".join(roles), "X-Test-Tenant": tenant}


@pytest.fixture
def client(site: Runtime) -> Client:
    """Two accounts and two tickets with an order each, of 70.10 and 71.10."""
    client, manager = Client(site), who("manager")
    for number, slug in enumerate(("fjord", "sound")):
        account = client.post(
            "/api/v1/accounts", json={"slug": slug, "name": slug}, headers=manager
        )
        ticket = {"code": str(uuid4()), "seat": f"{number}A", "price": number}
        assert client.post("/api/v1/tickets", json=ticket, headers=manager).status == 201
        order = {"number": f"N-{number}", "kind": "sale", "lane": "fast"}
        order |= {
            "total": f"7{number}.10",
            "account_id": account.json["id"],
            "ticket_id": ticket["code"],
        }
        assert client.post("/api/v1/orders", json=order, headers=manager).status == 201
    return client


PATHS = ("/api/v1/orders", "/orders", "/orders.csv")


@pytest.mark.parametrize("path", PATHS)
def test_rows_are_found_by_fields_of_related_rows(client: Client, path: str) -> None:
    for query, found in (
        ("account.slug=fjord", {"70.10"}),
        ("account.slug[in]=fjord,sound&ticket.price[gte]=1", {"71.10"}),
        ("account.created_at[gte]=2001-01-01T00:00:00Z", {"70.10", "71.10"}),
        ("parent.number=N-0", set()),
    ):
        answer = client.get(f"{path}?{query}", headers=who("manager"))
        assert answer.status == 200, answer.text
        assert set(re.findall(r"\b7[01]\.10\b", answer.text)) == found


def test_a_page_keeps_such_a_condition_in_a_search_and_in_its_csv(client: Client) -> None:
    page = client.get("/orders?account.slug=fjord", headers=who("manager")).text
    assert '<input type="hidden" name="account.slug" value="fjord">' in page
    assert "/orders.csv?account.slug=fjord" in page


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("roles", "name"),
    [
        (("member",), "ticket.price"),  # the key of the ticket is for managers
        (("member",), "account.notes"),  # not filterable
        (("admin",), "account.slug"),  # may not read accounts
        (("manager",), "labels.name"),  # several rows
    ],
)
def test_what_is_not_to_be_seen_is_answered_byte_for_byte_as_an_unknown_field(
    client: Client, path: str, roles: tuple[str, ...], name: str
) -> None:
    unknown = "x" * len(name.partition(".")[0]) + ".y"
    answers = []
    for asked in (name, unknown):
        for value in ("1", "fjord"):
            answer = client.get(f"{path}?{asked}={value}", headers=who(*roles))
            assert answer.status == 400
            body = answer.text.replace(asked, "").replace(answer.headers["X-Request-Id"], "")
            answers.append(re.sub(r"=(1|fjord)\b|value=\"(1|fjord)\"", "", body))
    assert len({*answers}) == 1, answers
