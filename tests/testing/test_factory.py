"""Factories: valid rows of any resource, with what they refer to, as the system in one's tenant."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import Identity, as_identity, current_identity
from forge_min.errors import Forbidden, ForgeError, Invalid, Unauthenticated
from forge_min.testing import Factory

pytestmark = pytest.mark.db


def count(site: Runtime, table: str) -> int:
    """Rows in a table, whoever's they are."""
    tenant = current_identity().tenant
    ((found,),) = db.run(site.database.connection(), f"select count(*) from {table}", tenant=tenant)
    return int(found)


def test_every_resource_whose_values_can_be_guessed_has_rows_at_once(
    site: Runtime, manager: Identity
) -> None:
    with as_identity(manager):
        for topic in site.registry.actions:
            if topic != "classes":  # its key has a pattern
                rows = Factory.of(site, topic).create_many(3)
                assert len({site.registry.actions[topic].key_of(row) for row in rows}) == 3, topic


def test_a_related_row_is_made_only_where_the_test_gives_none(
    site: Runtime, manager: Identity
) -> None:
    with as_identity(manager):
        account: Any = Factory.of(site, "accounts").create(name="Fjord")
        orders = Factory.of(site.registry, "orders")
        assert orders.create(account_id=account.id, number="7").account_id == account.id
        assert count(site, "accounts") == 1
        orders.create_many(2, account_id=account.id)
        assert (count(site, "accounts"), count(site, "orders")) == (1, 3)
        assert orders.create().account_id != account.id
        assert count(site, "accounts") == 2


def test_two_factories_of_a_resource_never_give_the_same_unique_value(
    site: Runtime, manager: Identity
) -> None:
    with as_identity(manager):
        slugs = {Factory.of(site, "accounts").create().slug for _ in range(5)}
    assert len(slugs) == 5


def test_build_gives_what_create_would_send_and_inserts_only_what_it_refers_to(
    site: Runtime, manager: Identity
) -> None:
    with as_identity(manager):
        values = Factory.of(site, "orders").build(total="9.50")
        assert values["total"] == "9.50"
        assert (count(site, "orders"), count(site, "accounts")) == (0, 1)
        assert site.registry.actions["orders"].create(values).account_id == values["account_id"]


def test_rows_are_made_as_the_system_in_the_tenant_of_the_test(
    site: Runtime, manager: Identity
) -> None:
    accounts = site.registry.actions["accounts"]
    with as_identity(Identity("bob", frozenset({"member"}), manager.tenant)):
        row: Any = Factory.of(site, "accounts").create(notes="only managers write this")
        with pytest.raises(Forbidden):
            accounts.create({"slug": "a", "name": "b"})
        assert accounts.get(row.id).notes is None
        assert current_identity().user == "bob"
    with as_identity(manager):
        assert accounts.get(row.id).notes == "only managers write this"
    with as_identity(Identity("eve", manager.roles, uuid4())):
        assert count(site, "accounts") == 0
    with pytest.raises((Unauthenticated, Forbidden)):
        Factory.of(site, "accounts").create()


def test_a_value_that_is_wrong_is_refused_and_create_many_is_all_or_nothing(site: Runtime) -> None:
    lines = Factory.of(site, "lines")
    with pytest.raises(Invalid):
        lines.create(year=1066)
    with pytest.raises(ForgeError):
        lines.create_many(2, slug="the-same")
    assert count(site, "lines") == 0


def test_a_factory_of_ones_own_takes_the_place_of_the_generated_one(
    site: Runtime, manager: Identity
) -> None:
    from gen.class_.factory import ClassFactory  # type: ignore[import-not-found]

    class Classes(ClassFactory):  # type: ignore[misc]
        """Knows the pattern of the key."""

        def defaults(self, n: int) -> dict[str, Any]:
            return super().defaults(n) | {"code": f"C{n}"}

    assert type(Factory.of(site, "classes")) is Classes
    assert [row.code for row in Factory.of(site, "classes").create_many(2)] == ["C1", "C2"]


def test_a_resource_without_a_factory_is_one_error(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen.line.actions.LineActions.__module__", "elsewhere.line.actions")
    with pytest.raises(ForgeError) as caught:
        Factory.of(site, "lines")
    assert caught.value.code == "F413"
