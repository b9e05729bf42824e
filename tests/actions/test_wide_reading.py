"""Every list of the wide project answers every sort, filter, search and relation that it offers."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from forge_min.actions import ListQuery
from forge_min.db import EmbeddedServer
from forge_min.errors import NotFound

from wide_project import Migrations, wide_registry

pytestmark = pytest.mark.db

VALUES = {"uuid": uuid4(), "int": 1, "bigint": 1}


def test_whatever_a_wide_schema_offers_can_be_asked(
    wide_code: Path, wide_migrations: Migrations, server: EmbeddedServer
) -> None:
    with wide_registry(server, wide_migrations) as registry:
        for actions in registry.actions.values():
            ask_everything(actions)


def ask_everything(actions: Any) -> None:
    resource = actions.resource
    for column in resource.columns:
        if column.sortable:
            for sort in (column.name, "-" + column.name):
                assert actions.list(ListQuery.of(resource, sort=sort, page=2)).total == 0
        if column.filterable:
            filters: dict[str, object] = {f"{column.name}[is_null]": True}
            if column.type.endswith("[]"):
                filters[f"{column.name}[contains]"] = VALUES.get(
                    column.type.removesuffix("[]"), "x"
                )
            else:
                filters[f"{column.name}[in]"] = []
            for filter, value in filters.items():
                assert actions.list(ListQuery.of(resource, {filter: value})).rows == []
    filters = vars(importlib.import_module(resource.row.__module__))[f"{resource.name}Filter"]
    for name in filters.__annotations__:
        if name.endswith(("[in]", "[is_null]")):
            value = True if "null" in name else []
            assert actions.list(ListQuery.of(resource, {name: value})).rows == []
    if resource.searchable:
        assert actions.list(ListQuery.of(resource, q="x", page=1)).total == 0
    row = SimpleNamespace(
        **{c.attribute or c.name: VALUES.get(c.type, "x") for c in resource.columns}
    )
    found = actions.related([row], [relation.name for relation in resource.relations])
    assert [leads for each in found.values() for leads in each.values() if leads] == []
    assert list(actions.stream()) == []
    for read in (actions.get, actions.audit_log):
        with pytest.raises(NotFound):
            read(actions.key_of(row))
