"""States change only by their transitions, whoever tries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import make_dataclass
from functools import partial
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import Actions, Column, Transition
from forge_min.auth import ANONYMOUS, Identity, as_identity
from forge_min.errors import Conflict, DomainError, Forbidden, Invalid, StaleVersion
from forge_min.testing import TestDatabase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waiting import wait_for
from workshop import ID, VERSION, Workshop, resource, together, workshop

pytestmark = pytest.mark.db

TABLE = """
create table permits (
  id uuid constraint permits_pkey primary key, title text, status text not null default 'draft',
  created_by text, version bigint not null default 1,
  constraint permits_title_key unique (title),
  constraint permits_status_check check (status in ('draft', 'submitted', 'approved', 'rejected')));
"""
GRAPH = {
    "submit": {"draft": "submitted", "rejected": "submitted"},
    "approve": {"submitted": "approved"},
    "reject": {"submitted": "rejected", "approved": "rejected"},
}
ROLES = {"submit": ("clerk", "officer"), "approve": ("officer",), "reject": ("officer",)}
CLERK = Identity(user="clara", roles=frozenset(["clerk"]))
OFFICER = Identity(user="oleg", roles=frozenset(["officer"]))
OTHER = Identity(user="olga", roles=frozenset(["officer"]))
READER = Identity(user="rita", roles=frozenset(["reader"]))
EVERYBODY = (CLERK, OFFICER, OTHER, READER, ANONYMOUS)


def check(c: Any) -> None:
    c.string("title")
    states = ("draft", "submitted", "approved", "rejected")
    c.enum("status", states, default="draft", required=True)
    c.unknown()


PERMITS = resource(
    "Permit",
    "permits",
    (
        ID,
        Column("title", "string", unique=True),
        Column("status", "enum", nullable=False, immutable=True, choices=("draft", "submitted")),
        Column("created_by", "text"),
        VERSION,
    ),
    check,
    auditable=True,
    authored=True,
    permissions={"read": ("anybody",), **ROLES}
    | dict.fromkeys(("create", "update"), ("clerk", "officer")),
    transitions=(
        Transition("submit", "status", GRAPH["submit"]),
        Transition("approve", "status", GRAPH["approve"], not_by="created_by"),
        Transition("reject", "status", GRAPH["reject"], needs_reason=True),
    ),
)._replace(
    insert='insert into "permits" ("id", "title", "status", "created_by") values (%(id)s,'
    " %(title)s, %(status)s, nullif(%(forge_actor)s::text, '')) returning *",
    insert_many='insert into "permits" ("id", "title", "status", "created_by")'
    " select forge_given.*, nullif(%(forge_actor)s::text, '') from unnest(%(id)s::uuid[],"
    " %(title)s::text[], %(status)s::text[]) as forge_given returning *",
)


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """A workshop with permits."""
    with workshop(fresh_database) as made:
        made.owner.execute(TABLE)
        made.registry.add(type("PermitActions", (Actions,), {"resource": PERMITS}))
        yield made


steps = st.lists(
    st.tuples(
        st.sampled_from(EVERYBODY), st.sampled_from([*GRAPH, "edit"]), st.sampled_from(["", "why"])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(author=st.sampled_from([CLERK, OFFICER, OTHER]), walk=steps)
def test_random_walks_of_random_identities_follow_the_graph(
    works: Workshop, author: Identity, walk: list[tuple[Identity, str, str]]
) -> None:
    permits = works["permits"]
    with as_identity(author):
        row = permits.create({})
    state, history = "draft", []
    for identity, verb, reason in walk:
        allowed = identity.has_one_of(ROLES.get(verb, ("clerk", "officer")))
        following = GRAPH.get(verb, {}).get(state)
        fits = following is not None and (verb != "reject" or reason)
        if verb == "approve" and identity.user == author.user:
            fits = False
        if verb == "edit":
            fits, following = False, None
        with as_identity(identity):
            try:
                if verb == "edit":
                    permits.update(row.id, {"status": "approved" if state == "draft" else "draft"})
                else:
                    assert permits.transition(row.id, verb, reason=reason).status == following
            except DomainError as err:
                assert not (allowed and fits), err
            else:
                assert allowed and fits and following is not None
                state = following
                history.append((identity.user, reason, state))
        with as_identity(READER):
            assert permits.get(row.id).status == state
            possible = {t.name for t in permits.possible_transitions(permits.get(row.id))}
            assert not possible
    written = works.sql(
        "select actor, reason, changes -> 'status' ->> 1 from forge_audit"
        " where resource_id = %s and operation = 'update' order by id",
        str(row.id),
    )
    assert written == history


def test_what_is_not_possible_names_the_state_the_user_or_the_reason(works: Workshop) -> None:
    permits = works["permits"]
    with as_identity(OFFICER):
        row = permits.create({})
        assert row.created_by == "oleg"
        with pytest.raises(Conflict) as early:
            permits.transition(row.id, "approve")
        permits.transition(row.id, "submit", version=1)
        with pytest.raises(StaleVersion):
            permits.transition(row.id, "reject", reason="late", version=1)
        with pytest.raises(Forbidden) as own:
            permits.transition(row.id, "approve")
        for reason in ("", "   ", "x" * 1001, "null \0 byte"):
            with pytest.raises(Invalid) as wrong:
                permits.transition(row.id, "reject", reason=reason)
            assert [e.pointer for e in wrong.value.errors] == ["/reason"]
        assert {t.name for t in permits.possible_transitions(permits.get(row.id))} == {"reject"}
        rejected = permits.transition(row.id, "reject", reason="a page is missing")
    assert early.value.code == "F647" and "draft" in early.value.message
    assert [(e.pointer, e.code) for e in early.value.errors] == [("/status", "state")]
    assert own.value.code == "F648" and rejected.status == "rejected" and rejected.version == 3
    events = works.events("permits")
    assert events[1:] == [("permit.updated", 2, ["status"]), ("permit.updated", 3, ["status"])]
    with as_identity(OTHER):
        assert permits.audit_log(row.id).rows[0].reason == "a page is missing"
    with as_identity(ANONYMOUS), pytest.raises(DomainError):
        permits.transition(row.id, "submit")


def test_the_attributes_of_a_row_may_differ_from_the_columns(works: Workshop) -> None:
    names = {"status": "status_", "created_by": "created_by_"}
    columns = [c._replace(attribute=names.get(c.name, "")) for c in PERMITS.columns]
    row = make_dataclass("PermitRow", [c.attribute or c.name for c in columns], frozen=True)
    renamed = PERMITS._replace(columns=tuple(columns), row=row)
    permits = works.registry.add(type("PermitActions", (Actions,), {"resource": renamed}))
    with as_identity(OFFICER):
        own = permits.transition(permits.create({}).id, "submit", reason="  ")
        assert [t.name for t in permits.possible_transitions(own)] == ["reject"]
        assert permits.audit_log(own.id).rows[0].reason == ""
    with pytest.raises(KeyError):
        renamed.transition("burn")


def test_of_racing_transitions_one_wins_and_the_others_get_the_new_state(works: Workshop) -> None:
    permits = works["permits"]

    def perform(id: Any, identity: Identity, verb: str) -> None:
        with as_identity(identity):
            permits.transition(id, verb, reason="race")

    for _ in range(10):
        with as_identity(CLERK):
            row = permits.create({})
            permits.transition(row.id, "submit")
        calls = [partial(perform, row.id, who, "approve") for who in (OFFICER, OTHER) * 3]
        errors = together(*calls)
        assert len(errors) == 5
        assert all(isinstance(e, Conflict) and "approved" in e.message for e in errors), errors
        assert works.one("select version from permits where id = %s", row.id) == 3


def change(works: Workshop, **changes: Any) -> Any:
    """The actions of permits with other declarations."""
    variant = PERMITS._replace(**changes)
    return works.registry.add(type("PermitActions", (Actions,), {"resource": variant}))


def test_no_way_of_writing_changes_a_field_that_the_state_of_the_row_locks(
    works: Workshop,
) -> None:
    permits = change(works, locked={"status": {"submitted": ["title"], "approved": ["title"]}})
    with as_identity(CLERK):
        row = permits.create({"title": "a"})
        permits.update(row.id, {"title": "b"})
        permits.transition(row.id, "submit")
        key = str(row.id)
        for call, pointer in (
            (lambda: permits.update(row.id, {"title": "c"}), "/title"),
            (lambda: permits.update(row.id, {"title": None, "status": "submitted"}), "/title"),
            (lambda: permits.replace(row.id, {"title": "c"}), "/title"),
            (lambda: permits.replace(row.id, {}), "/title"),
            (lambda: permits.upsert_many([{"id": key, "title": "c"}], key="id"), "/0/title"),
        ):
            with pytest.raises(Invalid) as caught:
                call()
            (error,) = caught.value.errors
            assert (error.pointer, error.code) == (pointer, "locked"), call
        same = {"title": "b", "status": "submitted"}
        assert permits.update(row.id, same).version == 3
        assert permits.replace(row.id, same).version == 3
        assert permits.upsert_many([same], key="title") == (0, 0, 1)
        new = [{"title": "d"}, {"title": "b"}]
        assert permits.upsert_many(new, key="title") == (1, 0, 1), "new rows are not locked"
        assert permits.locked(permits.get(row.id)) == {"title"}
    with as_identity(OFFICER):
        permits.transition(row.id, "reject", reason="a page is missing")
        assert permits.update(row.id, {"title": "e"}).title == "e"


def test_users_who_performed_an_operation_are_excluded_from_another(works: Workshop) -> None:
    approve = Transition("approve", "status", GRAPH["approve"], False, "create, submit, update")
    permits = change(works, transitions=(PERMITS.transitions[0], approve, PERMITS.transitions[2]))
    author, editor, submitter, boss = (
        Identity(user=name, roles=frozenset(["officer"])) for name in ("a", "e", "s", "b")
    )
    with as_identity(author):
        row = permits.create({"title": "a"})
    with as_identity(submitter):
        permits.transition(row.id, "submit")
    with as_identity(editor):
        permits.update(row.id, {"title": "b"})
    for who in (author, submitter, editor):
        with as_identity(who):
            names = {each.name for each in permits.possible_transitions(permits.get(row.id))}
            assert names == {"reject"}
            with pytest.raises(Forbidden) as caught:
                permits.transition(row.id, "approve")
            assert caught.value.code == "F648" and "create, submit, update" in caught.value.message
    with as_identity(boss):
        names = {each.name for each in permits.possible_transitions(permits.get(row.id))}
        assert names == {"approve", "reject"}
        permits.transition(row.id, "reject", reason="a page is missing")
        permits.transition(row.id, "submit")  # of another state, but the same transition
        with pytest.raises(Forbidden):
            permits.transition(row.id, "approve")
    with as_identity(Identity(user="c", roles=frozenset(["officer"]))):
        assert permits.transition(row.id, "approve").status == "approved"


def test_a_transition_that_waited_for_a_change_of_its_user_sees_it(works: Workshop) -> None:
    """The history is read again: the statement began before the change was committed."""
    approve = Transition("approve", "status", GRAPH["approve"], False, "update")
    permits = change(works, transitions=(PERMITS.transitions[0], approve))
    with as_identity(CLERK):
        row = permits.create({"title": "a"})
        permits.transition(row.id, "submit")
    errors: list[BaseException] = []

    def perform() -> None:
        with as_identity(OFFICER):
            try:
                permits.transition(row.id, "approve")
            except DomainError as err:
                errors.append(err)

    thread = threading.Thread(target=perform)
    conn = permits.connection()
    with as_identity(OFFICER), db.transaction(conn):
        permits.update(row.id, {"title": "mine"}, conn=conn)
        thread.start()
        waiting = "select count(*) from pg_locks where not granted"
        wait_for(lambda: works.one(waiting))
    thread.join(30)
    assert [getattr(err, "code", "") for err in errors] == ["F648"]
    assert permits.get(row.id).status == "submitted"


@pytest.mark.parametrize(
    "reason",
    ["", " \t\u00a0", "\u200b\u200d", "\u2060\ufeff", "\u3164\u115f", "\u2800", "\ue000\x07"],
)
def test_a_reason_has_visible_characters(works: Workshop, reason: str) -> None:
    permits = works["permits"]
    with as_identity(OFFICER):
        row = permits.create({})
        permits.transition(row.id, "submit", reason=reason)
        assert permits.audit_log(row.id).rows[0].reason == ""
        with pytest.raises(Invalid) as wrong:
            permits.transition(row.id, "reject", reason=reason)
        assert [e.pointer for e in wrong.value.errors] == ["/reason"]
        (error,) = permits.perform_each([row.id], "reject", reason=reason).values()
        assert isinstance(error, Invalid)
        shown = permits.transition(row.id, "reject", reason="\u200bנדחה")
    assert shown.status == "rejected"


def test_no_other_way_of_writing_changes_a_state(works: Workshop) -> None:
    permits = works["permits"]
    with as_identity(CLERK):
        row = permits.create({"title": "a"})
        permits.transition(row.id, "submit")
        for call in (
            lambda: permits.create({"status": "approved"}),
            lambda: permits.update(row.id, {"status": "draft"}),
            lambda: permits.replace(row.id, {"title": "a", "status": "draft"}),
            lambda: permits.create_many([{"status": "approved"}]),
            lambda: permits.upsert_many([{"title": "a", "status": "draft"}], key="title"),
            lambda: permits.upsert_many([{"title": "b", "status": "submitted"}], key="title"),
        ):
            with pytest.raises(Invalid) as caught:
                call()
            assert caught.value.errors[0].pointer.endswith("/status")
        same = {"title": "a", "status": "submitted"}  # as the client has read it
        version = permits.get(row.id).version
        assert permits.update(row.id, same).version == version
        assert permits.replace(row.id, same).version == version
        assert permits.upsert_many([same], key="title") == (0, 0, 1)
        permits.replace(row.id, {"title": "c"})
        permits.upsert_many([{"title": "c"}, {"title": "d"}], key="title")
    states = works.sql("select title, status, created_by from permits order by title")
    assert states == [("c", "submitted", "clara"), ("d", "draft", "clara")]
