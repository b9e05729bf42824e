"""Two people and others edit one note at random, while roles, zones and the schema change: what a
form writes is compared with an oracle, which knows what each person has touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes import LINKS, SCHEMAS, Notebook, Visitor, notebook

pytestmark = pytest.mark.db

SLUGS = ("l0", "l1", "l2", "l3")
TIME = datetime(2030, 1, 5, 12, 0, tzinfo=UTC)
VALUES: dict[str, list[Any]] = {
    "title": ["a", "b", "c"],
    "body": [None, "x\ny", "z"],
    "flag": [True, False],
    "price": [None, Decimal("1.50"), Decimal("2.00")],
    "meta": [None, {"a": [1, "ü"]}, {}],
    "due": [None, TIME, TIME + timedelta(hours=1)],
    "secret": [None, "s", "t"],
    "kind": [None, "letter", "memo"],
    "extra": [None, "e", "f"],
    "label_id": [None, "l0", "l1"],
}
PEOPLE = st.sampled_from((0, 1))
SLUG = st.sampled_from(SLUGS)
CHOICES = st.sampled_from(("", "theirs", "mine", "mine"))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Steps around a few fields, so that people meet."""
    focus = draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=3, unique=True))
    focus += draw(st.sampled_from(([], ["due"], ["secret"])))
    value = st.sampled_from(focus).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]))
    )
    left_out = st.frozensets(st.sampled_from([*focus, LINKS]), max_size=1)
    save = st.tuples(st.just("save"), PEOPLE, left_out | st.just(frozenset()), CHOICES)
    write = st.tuples(st.just("write"), PEOPLE, value)
    steps = [
        write, write, write, save, save,
        st.tuples(st.just("tick"), PEOPLE, SLUG),
        st.tuples(st.just("other"), value),
        st.tuples(st.just("link"), SLUG, st.booleans()),
        st.tuples(st.just("restore")),
        st.tuples(st.just("role"), PEOPLE, st.sampled_from(((), ("editor",)))),
        st.tuples(st.just("schema"), st.sampled_from(sorted(SCHEMAS))),
        st.tuples(st.just("zone"), PEOPLE, st.sampled_from(("UTC", "Asia/Tokyo"))),
    ]  # fmt: skip
    return draw(st.lists(st.one_of(steps), min_size=8, max_size=24))


@pytest.fixture(scope="module")
def book(server: EmbeddedServer) -> Iterator[Notebook]:
    """A notebook for all examples; each has a note of its own."""
    with fresh_database(server) as database, notebook(database) as made:
        made.labels(*SLUGS)
        yield made


@dataclass
class Open:
    """An open form. shown: what it was rendered from. wanted: what was typed into it."""

    shown: dict[str, Any]
    zone: ZoneInfo
    wanted: dict[str, Any] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)

    def touched(self) -> set[str]:
        """The fields whose inputs no longer say what they showed."""
        return {name for name, value in self.wanted.items() if value != self.shown[name]}


def fields_of(book: Notebook, visitor: Visitor) -> set[str]:
    """What a form has for this person now."""
    hidden = set() if "editor" in visitor.identity.roles else {"secret"}
    return SCHEMAS[visitor.schema] - hidden


def spelled(name: str, value: Any, zone: ZoneInfo) -> Any:
    """A value as a person types it; a list for check boxes."""
    if name == LINKS:
        return sorted(value)
    if value is None or value is False:
        return None if name == "flag" else ""
    if name == "meta":
        return json.dumps(value, ensure_ascii=False, indent=2)
    if name == "due":
        return value.astimezone(zone).strftime("%Y-%m-%dT%H:%M")
    return "true" if value is True else str(value)


class Desk:
    """One note, two people with a form each, and what the note must be."""

    def __init__(self, book: Notebook) -> None:
        self.book = book
        self.note = book.note(title="a", flag=True, label_slugs=["l0"])
        self.people = [Visitor(book, name, "editor") for name in ("ann", "bob")]
        self.forms: list[Open | None] = [None, None]

    def row(self) -> dict[str, Any]:
        row = self.book.row(self.note)
        return row | {LINKS: frozenset(row[LINKS])}

    def open(self, who: int) -> Open:
        """The form of this person, opened unless it is."""
        form, visitor = self.forms[who], self.people[who]
        if form is None:
            visitor.edit(self.note)
            names, row = fields_of(self.book, visitor), self.row()
            shown = {name: row[name] for name in names}
            form = self.forms[who] = Open(shown, ZoneInfo(visitor.identity.time_zone or "UTC"))
        return form

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case "write", who, (name, value):
                form = self.open(who)
                if name in form.shown:
                    form.wanted[name] = value
            case "tick", who, slug:
                form = self.open(who)
                if LINKS in form.shown:
                    ticked = form.wanted.get(LINKS, form.shown[LINKS])
                    form.wanted[LINKS] = ticked ^ {slug}
            case "save", who, left_out, choice:
                self.save(who, left_out, choice)
            case "other", (name, value):
                given = value if name != "price" or value is None else str(value)
                self.book.change(self.note, **{name: given})
            case "link", slug, gone:
                self.book.link(self.note, slug, gone=gone)
            case ("restore",):
                self.book.delete(self.note, restore=True)
            case "role", who, roles:
                person = self.people[who]
                person.identity = replace(person.identity, roles=frozenset(roles))
            case "schema", version:
                for person in self.people:
                    person.schema = version
            case "zone", who, zone:
                person = self.people[who]
                person.identity = replace(person.identity, time_zone=zone)

    def save(self, who: int, left_out: frozenset[str], choice: str) -> None:
        form, visitor = self.open(who), self.people[who]
        before, allowed = self.row(), fields_of(self.book, visitor)
        typed = {n: spelled(n, v, form.zone) for n, v in form.wanted.items()}
        values = typed | {f"{name}.choice": choice for name in form.undecided if choice}
        pairs = visitor.page.form.filled(values)
        pairs = [(name, value) for name, value in pairs if name not in left_out]
        page = visitor.ask("POST", self.note + "/edit", urlencode(pairs).encode())
        after = self.row()
        # The oracle.
        sent = {name: value for name, value in form.wanted.items() if name not in left_out}
        touched = form.touched() & sent.keys()
        lost = touched - allowed
        expected, conflicts, open_still = dict(before), set(), {}
        for name in allowed & sent.keys():
            if name in form.undecided and choice == "theirs":
                continue
            mine, theirs, shown = sent[name], before[name], form.shown[name]
            if name in form.undecided and not choice:
                if mine != theirs:
                    conflicts.add(name)
                    open_still[name] = mine
            elif name in touched and name == LINKS:
                merged = (theirs - (shown - mine)) | (mine - shown)
                expected[name] = open_still[name] = merged
            elif name in touched and mine != theirs:
                if shown != theirs:
                    conflicts.add(name)
                expected[name] = open_still[name] = mine
        if conflicts or lost:
            assert page.status == 409, (page.status, conflicts, lost, page.text)
            assert after == before, "nothing is written"
            asked = {name.removesuffix(".choice") for name in page.form.choices if "." in name}
            assert asked == conflicts
            kept = allowed & form.shown.keys()
            shown = {name: before[name] for name in kept}
            self.forms[who] = Open(shown, form.zone, open_still, conflicts)
        else:
            assert page.status == 303, (page.status, page.text)
            assert after == expected
            self.forms[who] = None


@pytest.mark.thorough
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=histories())
def test_no_value_that_a_person_did_not_touch_ever_changes(
    book: Notebook, steps: list[tuple[Any, ...]]
) -> None:
    desk = Desk(book)
    for step in steps:
        desk.do(step)
    for who in (0, 1):  # in the end everybody gets what was asked for
        for _ in range(3):
            if desk.forms[who] is not None:
                desk.save(who, frozenset(), "mine")
        assert desk.forms[who] is None
