"""What a deletion does to the rows that refer to the deleted one: as visible as their own change."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.actions import uuid7
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.errors import Conflict, StaleVersion
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
        ' schema.states("state", "in", {"in": {"leave": "out"}, "out": {}}, locked={"out": ["bed_id"]}),'
        ' schema.belongs_to("Guest", name="friend", on_delete="set_null"),',
    ),
    "node": ("Node", 'schema.belongs_to("Node", name="up", on_delete="cascade"),'),
    "team": ("Team", 'schema.belongs_to("Person", name="lead", on_delete="set_null"),'),
    "person": ("Person", 'schema.belongs_to("Team", required=True, on_delete="cascade"),'),
    "alpha": ("Alpha", 'schema.belongs_to("Beta", on_delete="cascade"),'),
    "beta": ("Beta", 'schema.belongs_to("Alpha", required=True, on_delete="cascade"),'),
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
            with pytest.raises(Exception, match="changed after|not found"):
                beds.delete(id, version=version)
        assert (guests.get(guest.id).bed_id, guests.get(guest.id).version) == (bed.id, 1)


def test_a_deletion_does_not_clear_a_reference_that_a_state_locks(site: Any) -> None:
    bed = Factory.of(site, "beds").create()
    guest = Factory.of(site, "guests").create(bed_id=bed.id)
    beds, guests = site.registry.actions["beds"], site.registry.actions["guests"]
    with as_identity(Identity("ann")):
        guests.transition(guest.id, "leave")
        with pytest.raises(Conflict, match="still refer"):
            beds.delete(bed.id)
        assert guests.get(guest.id).bed_id == bed.id


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
        said = [rows.audit_log(id).rows[0] for id in ids]
        assert [entry.operation for entry in said] == ["delete"] * length
        ups = [str(up) for up in (*ids[1:], ids[0])]
        assert [entry.changes["up_id"] for entry in said] == [[up, None] for up in ups]
    gone = [(e.kind, e.resource_id) for e in read_events(conn)[before:]]
    assert sorted(gone) == sorted((f"{topic[:-1]}.deleted", str(id)) for id in ids)


def test_what_goes_with_it_does_not_make_a_version_stale_nor_a_history_poorer(site: Any) -> None:
    teams, people = site.registry.actions["teams"], site.registry.actions["persons"]
    guests = site.registry.actions["guests"]
    with as_identity(Identity("ann")):
        team = teams.create({"name": "x"})
        lead = people.create({"name": "x", "team_id": team.id})
        version = teams.update(team.id, {"lead_id": lead.id}).version
        with pytest.raises(StaleVersion):
            teams.delete(team.id, version=version - 1)
        teams.delete(team.id, version=version)
        last = teams.audit_log(team.id).rows[0]
        assert (last.operation, last.version) == ("delete", version)
        assert last.changes["lead_id"] == [str(lead.id), None]
        assert people.audit_log(lead.id).rows[0].operation == "delete"
        own = guests.create({"name": "x"})
        version = guests.update(own.id, {"friend_id": own.id}).version
        guests.delete(own.id, version=version)
        last = guests.audit_log(own.id).rows[0]
        assert (last.operation, last.changes["friend_id"]) == ("delete", [str(own.id), None])


@pytest.mark.parametrize("first", ["alphas", "betas"])
def test_a_circle_through_two_tables_goes_as_a_whole(site: Any, first: str) -> None:
    alphas, betas = site.registry.actions["alphas"], site.registry.actions["betas"]
    with as_identity(Identity("ann")):
        alpha = alphas.create({"name": "x"})
        beta = betas.create({"name": "x", "alpha_id": alpha.id})
        alphas.update(alpha.id, {"beta_id": beta.id})
        site.registry.actions[first].delete(alpha.id if first == "alphas" else beta.id)
        assert alphas.list().rows == [] == betas.list().rows
        assert alphas.audit_log(alpha.id).rows[0].changes["beta_id"] == [str(beta.id), None]
        assert betas.audit_log(beta.id).rows[0].changes["alpha_id"] == [str(alpha.id), None]


@pytest.mark.parametrize(
    ("topic", "column", "follower"),
    [("teams", "team_id", "persons"), ("beds", "bed_id", "guests")],
)
def test_who_comes_while_a_row_is_being_deleted_follows_too(
    site: Any, topic: str, column: str, follower: str
) -> None:
    """The newcomer commits while the deletion waits for it."""
    row = Factory.of(site, topic).create()
    database = site.registry.database
    newcomers, failed = site.registry.actions[follower], []

    def delete() -> None:
        try:
            with as_identity(Identity("bob")):
                site.registry.actions[topic].delete(row.id)
        except BaseException as err:
            failed.append(err)

    with as_identity(Identity("ann")):
        thread = threading.Thread(target=delete)
        conn, watch = database.connection(), database.open()
        with watch, db.transaction(conn):
            late = newcomers.create({"name": "late", column: row.id}, conn=conn)
            thread.start()
            waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
            while not watch.execute(waiting).fetchall():
                assert thread.is_alive(), failed
        thread.join(20)
        assert not failed and not thread.is_alive()
        last = newcomers.audit_log(late.id).rows[0]
    wanted = "delete" if follower == "persons" else "update"
    assert (last.operation, last.actor, last.changes[column]) == (
        wanted,
        "bob",
        [str(row.id), None],
    )


def test_a_chain_that_is_longer_than_the_stack_is_deleted(site: Any) -> None:
    nodes, conn = site.registry.actions["nodes"], site.registry.database.connection()
    long = sys.getrecursionlimit() + 100
    keys = [uuid7() for _ in range(long)]
    db.run(
        conn,
        "insert into nodes (id, name, up_id) select id, 'n', up from"
        " unnest(%(keys)s::uuid[], %(ups)s::uuid[]) as n (id, up)",
        {"keys": keys, "ups": [None, *keys[:-1]]},
    )
    before = len(read_events(conn))
    with as_identity(Identity("ann")):
        nodes.delete(keys[0])
    events = [(e.kind, e.resource_id) for e in read_events(conn)[before:]]
    assert events == [("node.deleted", str(key)) for key in reversed(keys)]
    assert db.run(conn, "select count(*) from nodes") == [(0,)]
