"""Reading the log of changes: values as the API spells them, nothing that is hidden or gone."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from forge_min.auth import ANONYMOUS, SYSTEM, Identity, as_identity
from forge_min.errors import BadRequest, Forbidden, NotFound, Unauthenticated
from forge_min.testing import TestDatabase

from workshop import ANN, BOB, BOSS, WRITER, Workshop, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def log(works: Workshop, who: Identity, key: Any, topic: str = "products", **page: Any) -> Any:
    with as_identity(who):
        return works[topic].audit_log(key, **page)


def test_values_are_spelt_as_in_the_json_of_the_row(works: Workshop) -> None:
    works.tags("a", "b")
    details = {"n": 0.1, "deep": [1, None, {"x": "1.10"}], "big": 2**53}
    with as_identity(BOSS):
        made = works["products"].create(
            {"code": "A", "price": "12345678.10", "cost": Decimal("0.30"), "details": details}
            | {"seen_at": "2026-11-25T08:30:00.000001+02:00", "tag_ids": ["b", "a"]}
        )
        shown = works["products"].to_json(made)
    (entry,) = log(works, BOSS, made.id).rows
    assert entry.changes["tag_ids"][1] == ["a", "b"]
    for name in ("code", "price", "cost", "details", "seen_at"):
        assert entry.changes[name] == [None, shown[name]], name
    whole = entry.to_json()
    assert whole["at"].endswith("Z") and whole["operation"] == "create"


def test_what_is_hidden_and_what_the_resource_no_longer_has_is_left_out(works: Workshop) -> None:
    made = works.product("A", BOSS, cost="1.00")
    works.owner.execute("""update forge_audit set changes = changes || '{"secret": [1, 2]}'""")
    (mine,) = log(works, ANN, made.id).rows
    assert "code" in mine.changes and not {"cost", "secret"} & set(mine.changes)
    (all_of_it,) = log(works, BOSS, made.id).rows
    assert all_of_it.changes["cost"] == [None, "1.00"] and "secret" not in all_of_it.changes


def test_a_log_is_of_one_tenant_and_outlives_its_row(works: Workshop) -> None:
    with as_identity(ANN):
        made = works["makers"].create({"name": "Mill"})
        works["makers"].delete(made.id)
    entries = log(works, ANN, made.id, "makers").rows
    assert [entry.operation for entry in entries] == ["delete", "create"]
    assert entries[0].changes["name"] == ["Mill", None]
    for who, key in ((BOB, made.id), (ANN, uuid4())):
        with pytest.raises(NotFound):
            log(works, who, key, "makers")
    with pytest.raises(Forbidden):
        log(works, SYSTEM, made.id, "makers")


def test_a_log_needs_the_permission_to_read_or_a_declared_one(works: Workshop) -> None:
    people = works["people"]
    with as_identity(WRITER):
        made = people.create({"name": "one"})
    permissions = {**people.resource.permissions, "audit": ("auditor",)}
    resource = people.resource._replace(permissions=permissions)
    declared = type("Declared", (type(people),), {"resource": resource})(works.database)
    declared.registry = works.registry
    auditor = Identity(user="eve", roles=frozenset(["auditor"]))
    for actions, reader, stranger in ((people, WRITER, ANN), (declared, auditor, WRITER)):
        with as_identity(reader):
            assert len(actions.audit_log(made.id).rows) == 1
            assert len(actions.recent_changes(9)) == 1
        for identity in (stranger, ANONYMOUS):
            for call, argument in ((actions.audit_log, made.id), (actions.recent_changes, 9)):
                with as_identity(identity), pytest.raises((Forbidden, Unauthenticated)):
                    call(argument)


def test_a_row_that_nothing_was_logged_of_has_an_empty_log(works: Workshop) -> None:
    made = works.product("A")
    works.owner.execute("delete from forge_audit")
    assert log(works, ANN, made.id).rows == []


def test_pages_of_a_log_are_the_whole_of_it(works: Workshop) -> None:
    made = works.product("A", name="0")
    with as_identity(ANN):
        for n in range(1, 8):
            works["products"].update(made.id, {"name": str(n)})
    seen, token = [], None
    while True:
        page = log(works, ANN, made.id, limit=3, cursor=token)
        seen += [entry.version for entry in page.rows]
        token = page.next
        if token is None:
            break
    assert seen == list(range(8, 0, -1))
    with pytest.raises(BadRequest):
        log(works, ANN, works.product("B").id, cursor=log(works, ANN, made.id, limit=1).next)
