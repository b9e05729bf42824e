"""What a GET gives may be sent back, whoever may write which field."""

from __future__ import annotations

from uuid import uuid4

import pytest
from forge_min.app import Runtime
from forge_min.testing import Client

pytestmark = pytest.mark.db
PLACE = "/api/v1/documents"


def who(*roles: str) -> dict[str, str]:
    return {"X-Test-User": "ann", "X-Test-Roles": ",".join(roles)}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_field_that_others_write_may_come_back_as_it_is(site: Runtime, method: str) -> None:
    client, secret = Client(site), str(uuid4())
    admin, editor, reader = who("anybody", "admin"), who("anybody", "editor"), who("anybody")
    sent = {"string": "Of mice", "bool": True, "settings": {}, "secret": secret}
    made = client.post(PLACE, json=sent, headers=admin)
    assert made.status == 201, made.json
    place = f"{PLACE}/{made.json['id']}"
    row = client.get(place, headers=editor).json
    assert row["secret"] == secret and "settings" not in row
    answer = client.request(method, place, json=row | {"string": "and men"}, headers=editor)
    assert answer.status == 200, answer.json
    assert answer.json["string"] == "and men" and answer.json["secret"] == secret
    # Another value; and who does not see it learns by no guess whether it is right.
    for changed, headers in ((str(uuid4()), editor), (secret, reader), (str(uuid4()), reader)):
        row = {"string": "no", "bool": True, "secret": changed}
        answer = client.request(method, place, json=row, headers=headers)
        (error,) = answer.json["errors"]
        assert answer.status == 422
        assert (error["pointer"], error["code"]) == ("/secret", "not_writable")
    assert client.get(place, headers=admin).json["string"] == "and men"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_fractions_in_a_json_field_that_others_write_come_back(
    site: Runtime, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client, admin = Client(site), who("anybody", "admin")
    held = {"rates": [0.1, 1e300, {"share": 2.5}], "whole": 3}
    made = client.post(PLACE, json={"string": "Rates", "settings": held}, headers=admin)
    assert made.status == 201, made.json
    place = f"{PLACE}/{made.json['id']}"
    kept = frozenset({"settings"})
    monkeypatch.setattr(site.registry.actions["documents"], "refused", lambda: kept)
    row = client.get(place, headers=admin).json
    answer = client.request(method, place, json=row | {"string": "Shares"}, headers=admin)
    assert answer.status == 200, answer.json
    assert answer.json["string"] == "Shares" and answer.json["settings"] == row["settings"]
    other = answer.json | {"settings": held | {"rates": [0.2]}}
    answer = client.request(method, place, json=other, headers=admin)
    assert [error["pointer"] for error in answer.json["errors"]] == ["/settings"]
