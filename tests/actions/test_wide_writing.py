"""Every resource of the wide project is created, changed, deleted and restored by generated code,
and a row that is written over with its own values leaves no trace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from forge_min.actions import Registry
from forge_min.db import EmbeddedServer
from forge_min.errors import NotFound, StaleVersion
from forge_min.testing import Factory

from wide_project import Migrations, wide_registry

pytestmark = pytest.mark.db

OURS = ("version", "created_at", "updated_at", "deleted_at", "created_by")
NEEDED = {"classes": {"code": "AB"}}  # required with a pattern: the factory leaves it to us


def test_every_resource_of_a_wide_schema_is_written(
    wide_code: Path, wide_migrations: Migrations, server: EmbeddedServer
) -> None:
    with wide_registry(server, wide_migrations) as registry:
        for topic in registry.actions:
            write_everything(registry, topic)


def write_everything(registry: Registry, topic: str) -> None:
    actions: Any = registry.actions[topic]
    resource = actions.resource
    row = Factory.of(registry, topic).create(**NEEDED.get(topic, {}))
    key, version = actions.key_of(row), row.version
    values = {n: v for n, v in actions.to_json(row).items() if n not in OURS}
    whole = {n: v for n, v in values.items() if n != "id" or resource.key.name != "id"}
    assert actions.update(key, {}, version=version) == row
    assert actions.update(key, whole, version=version) == row
    assert actions.replace(key, whole, version=version) == row
    assert actions.upsert_many([values], key=resource.key.name) == (0, 0, 1)
    for link in resource.relations:
        if link.field:
            target = Factory.of(registry, link.target).create(**NEEDED.get(link.target, {}))
            leads = registry.actions[link.target].key_of(target)
            version = actions.update(key, {link.field: [leads]}, version=version).version
            assert actions.related([row], [link.name])[link.name][key] == [target]
    actions.delete(key, version=version)
    with pytest.raises(NotFound):
        actions.get(key)
    if resource.soft_delete:
        assert actions.restore(key).version == version + 2


def test_rows_that_refer_to_each_other_are_deleted_together(
    wide_code: Path, wide_migrations: Migrations, server: EmbeddedServer
) -> None:
    """Deleting the first row changes the second, which is no change by another user."""
    with wide_registry(server, wide_migrations) as registry:
        stations: Any = registry.actions["stations"]
        stations.create({"number": 1, "name": "one"})
        stations.create({"number": 2, "name": "two", "next_id": 1})
        stale = stations.perform_each([1, 2], "delete", versions=[1, 2])
        assert stale[1] is None and isinstance(stale[2], StaleVersion)
        assert stations.get(2).next_id == 1, "nothing was deleted"
        assert stations.perform_each([1, 2], "delete", versions=[1, 1]) == {1: None, 2: None}
        assert stations.list().rows == []
