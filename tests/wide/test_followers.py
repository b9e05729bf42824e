"""What a deletion does to the rows that refer to the deleted one: as visible as their own change."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.actions import uuid7
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.generate import generate, scaffold_resource
from forge_min.migrations import diff
from forge_min.parse import parse_project
from forge_min.testing import Factory, fresh_database, read_events, running_app
from wide_project import importable

pytestmark = pytest.mark.db

SCHEMA = """from forge_min import schema

{folder} = schema.define(
    "{name}",
    schema.string("name", required=True, max_len=20),
    {parts}
    schema.auditable(),
)
"""
HOOKS = "schema.with_hooks(schema.Hooks(after_delete=[schema.JobRef(kind='Gone')])),"
PROJECT = {
    "ship": ("Ship", ""),
    "cabin": ("Cabin", f'schema.belongs_to("Ship", on_delete="cascade"), {HOOKS}'),
    "bed": ("Bed", f'schema.belongs_to("Cabin", required=True, on_delete="cascade"), {HOOKS}'),
    "guest": (
        "Guest",
        'schema.belongs_to("Bed", on_delete="set_null"),'
        ' schema.belongs_to("Guest", name="friend", on_delete="set_null"),',
    ),
    "node": ("Node", 'schema.belongs_to("Node", name="up", on_delete="cascade"),'),
    "ring": ("Ring", 'schema.belongs_to("Ring", name="up", required=True, on_delete="cascade"),'),
}


@pytest.fixture
def site(server: EmbeddedServer, tmp_path: Path) -> Any:
    for folder, (name, parts) in PROJECT.items():
        path = tmp_path / "resources" / folder / "schema.py"
        path.parent.mkdir(parents=True)
        path.write_text(SCHEMA.format(folder=folder, name=name, parts=parts))
    (tmp_path / "forge.toml").write_text('[project]\nname = "ships"\n')
    (tmp_path / "app.py").write_text("from forge_min.app import App\n\napp = App()\n")
    resources = parse_project(tmp_path).resources
    assert len(resources) == len(PROJECT)
    scaffold_resource(tmp_path, *resources)
    generate(tmp_path, resources)
    first = diff(tmp_path, resources, [])
    assert first is not None
    first.write()
    files = [*db.FORGE_MIGRATIONS, *db.read_migrations(tmp_path / "migrations", "app")]
    with importable(tmp_path), fresh_database(server, files) as database:
        with running_app(database) as running:
            yield running


def test_every_row_that_follows_has_its_event_audit_jobs_and_version(site: Any) -> None:
    conn = site.registry.database.connection()
    ship = Factory.of(site, "ships").create()
    cabins = [Factory.of(site, "cabins").create(ship_id=ship.id) for _ in range(2)]
    bed = Factory.of(site, "beds").create(cabin_id=cabins[0].id)
    guest = Factory.of(site, "guests").create(bed_id=bed.id)
    other = Factory.of(site, "guests").create(friend_id=guest.id)
    before = len(read_events(conn))
    with as_identity(Identity("ann")):
        site.registry.actions["ships"].delete(ship.id)
        now = site.registry.actions["guests"].get(guest.id)
        log = site.registry.actions["guests"].audit_log(guest.id)
    assert (now.bed_id, now.version) == (None, 2)
    assert [(e.operation, e.actor) for e in log.rows] == [("update", "ann"), ("create", "system")]
    assert log.rows[0].changes == {"bed_id": [str(bed.id), None]}
    events = [(e.kind, e.resource_id) for e in read_events(conn)[before:]]
    gone = [("bed.deleted", bed.id), *(("cabin.deleted", cabin.id) for cabin in cabins)]
    wanted = [("guest.updated", guest.id), *gone, ("ship.deleted", ship.id)]
    assert sorted(events) == sorted((kind, str(id)) for kind, id in wanted)
    jobs = conn.execute("select args ->> 'id' from forge_job where kind = 'Gone'").fetchall()
    assert {id for (id,) in jobs} == {str(bed.id), *(str(cabin.id) for cabin in cabins)}
    with as_identity(Identity("ann")):
        site.registry.actions["guests"].delete(guest.id)
        assert site.registry.actions["guests"].get(other.id).version == 2


def test_a_deletion_that_is_refused_leaves_those_that_follow_alone(site: Any) -> None:
    bed = Factory.of(site, "beds").create()
    guest = Factory.of(site, "guests").create(bed_id=bed.id)
    beds, guests = site.registry.actions["beds"], site.registry.actions["guests"]
    with as_identity(Identity("ann")):
        for id, version in ((bed.id, 7), (uuid4(), None)):
            with pytest.raises(Exception, match="changed since|there is no"):
                beds.delete(id, version=version)
        assert (guests.get(guest.id).bed_id, guests.get(guest.id).version) == (bed.id, 1)


def test_references_in_a_circle_end(site: Any) -> None:
    guests = site.registry.actions["guests"]
    one = Factory.of(site, "guests").create()
    two = Factory.of(site, "guests").create(friend_id=one.id)
    with as_identity(Identity("ann")):
        guests.update(one.id, {"friend_id": two.id})
        guests.delete(one.id)
        assert guests.get(two.id).friend_id is None


@pytest.mark.parametrize("topic", ["nodes", "rings"])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_cascade_in_a_circle_ends_and_every_row_has_its_history(
    site: Any, topic: str, length: int
) -> None:
    rows = site.registry.actions[topic]
    ids = [uuid7() for _ in range(length)]
    conn = site.registry.database.connection()
    with as_identity(Identity("ann")):
        outside = rows.create({"name": "x", "up_id": ids[0]}, id=ids[0])
        for id in ids[1:]:
            rows.create({"name": "x", "up_id": ids[0]}, id=id)
        for id, up in zip(ids, [*ids[1:], ids[0]], strict=True):
            rows.update(id, {"up_id": up})
        before = len(read_events(conn))
        rows.delete(outside.id, version=rows.get(outside.id).version)
        assert rows.list().rows == []
        assert [rows.audit_log(id).rows[0].operation for id in ids] == ["delete"] * length
    gone = [(e.kind, e.resource_id) for e in read_events(conn)[before:]]
    assert sorted(gone) == sorted((f"{topic[:-1]}.deleted", str(id)) for id in ids)
