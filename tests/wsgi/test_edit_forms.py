"""Edit forms: a value that a person did not touch stays what others made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from forge_min.actions import Limits
from forge_min.errors import Forbidden
from forge_min.testing import TestDatabase

from notes import LINKS, Notebook, Visitor, notebook
from workshop import together

pytestmark = pytest.mark.db

FULL: dict[str, Any] = {
    "title": "one", "body": "a\nb", "flag": True, "price": "1.50", "meta": {"a": 1}, "kind": "memo",
    "due": "2030-01-01T10:00:07.123456Z", "secret": "s", "label_id": "l0", LINKS: ["l0", "l1"],
}  # fmt: skip


@pytest.fixture
def book(fresh_database: TestDatabase) -> Iterator[Notebook]:
    """An empty notebook with four labels."""
    with notebook(fresh_database) as made:
        made.labels("l0", "l1", "l2", "l3")
        yield made


@pytest.fixture
def ann(book: Notebook) -> Visitor:
    """Somebody who edits notes."""
    return Visitor(book, "ann", "editor")


def linked(page: Any) -> list[str]:
    return [value for name, value in page.form.fields if name == LINKS]


def post(visitor: Visitor, note: str, pairs: list[tuple[str, str]]) -> Any:
    """Send exactly these pairs and the token."""
    token = ("_csrf_token", dict(visitor.page.form.fields)["_csrf_token"])
    return visitor.ask("POST", note + "/edit", urlencode([token, *pairs]).encode())


def test_links_that_others_add_and_remove_meanwhile_stay(book: Notebook, ann: Visitor) -> None:
    note = book.note(label_slugs=["l0", "l1"])
    ann.edit(note)
    book.link(note, "l2")
    book.link(note, "l1", gone=True)
    assert ann.send({"title": "new"}).status == 303
    assert book.row(note)[LINKS] == ["l0", "l2"]
    ann.edit(note)  # and so it is when links were changed here too
    book.link(note, "l1")
    assert ann.send({LINKS: ["l0", "l3"]}).status == 303
    assert book.row(note)[LINKS] == ["l0", "l1", "l3"]


def test_the_last_check_mark_can_be_taken_away(book: Notebook, ann: Visitor) -> None:
    note = book.note(label_slugs=["l0"])
    ann.edit(note)
    assert ann.send({LINKS: [], "flag": None}).status == 303
    row = book.row(note)
    assert row[LINKS] == [] and row["flag"] is False
    ann.edit(note)
    assert ann.send({LINKS: ["l1"], "flag": "true"}).status == 303
    assert book.row(note)[LINKS] == ["l1"] and book.row(note)["flag"] is True


def test_an_input_that_was_not_sent_is_not_a_change(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    before = book.row(note)
    base = dict(ann.edit(note).form.fields)["_base"]
    assert post(ann, note, [("_base", base), ("title", "new")]).status == 303
    assert book.row(note) == before | {"title": "new"}


def test_of_a_hundred_links_none_is_lost_when_one_was_deleted(book: Notebook, ann: Visitor) -> None:
    names = [f"n{n:03}" for n in range(100)]
    book.labels(*names)
    note = book.note(label_slugs=names)
    assert LINKS not in ann.edit(note).form.choices
    book.link(note, names[0], gone=True)
    assert ann.send({"title": "new"}).status == 303
    assert book.row(note)[LINKS] == names[1:]
    assert len(linked(ann.edit(note))) == 99
    book.link(note, names[0], "l0")
    assert ann.send({LINKS: [*names[2:], "l1"]}).status == 303, "also when they are more by then"
    assert book.row(note)[LINKS] == sorted([names[0], "l0", "l1", *names[2:]])


def test_links_stay_when_their_targets_cannot_be_listed(book: Notebook, ann: Visitor) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise Forbidden("not today")

    note = book.note(**FULL)
    book.actions["all"]["labels"].list = refuse
    assert linked(ann.edit(note)) == ["l0", "l1"]
    assert dict(ann.page.form.fields)["label_id"] == "l0"
    assert ann.send({"title": "new"}).status == 303
    row = book.row(note)
    assert (row["title"], row["label_id"], row[LINKS]) == ("new", "l0", ["l0", "l1"])


def test_links_stay_when_their_targets_are_too_large_for_a_list(
    book: Notebook, ann: Visitor
) -> None:
    made = [book.note(title=f"n{n}", body="b" * 600, label_slugs=["l0"]) for n in range(5)]
    book.actions["all"]["notes"].limits = Limits(response=1_500)
    keys = [note.rpartition("/")[2] for note in made]
    labels = dict(ann.edit("/labels/l0").form.choices["note_ids"])
    assert [labels[key] for key in keys] == ["n0", "n1", "n2", "n3", "n4"]
    assert ann.send({}).status == 303
    assert all(book.row(note)[LINKS] == ["l0"] for note in made)
    ann.edit("/labels/l0")
    assert ann.send({"note_ids": keys[1:]}).status == 303
    assert [book.row(note)[LINKS] for note in made] == [[], *[["l0"]] * 4]


def test_what_only_one_side_changed_is_merged_without_asking(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, body="theirs", price="2", flag=False, meta=None)
    assert ann.send({"title": "mine", "kind": ""}).status == 303
    row = book.row(note)
    assert (row["title"], row["kind"], row["body"]) == ("mine", None, "theirs")
    assert (row["price"], row["flag"], row["meta"]) == (2, False, None)
    assert row["due"] == datetime(2030, 1, 1, 10, 0, 7, 123456, UTC)


def test_the_same_change_of_both_is_no_conflict(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, title="both")
    assert ann.send({"title": "both"}).status == 303


@pytest.mark.parametrize(("choice", "title"), [("theirs", "theirs"), ("mine", "mine")])
def test_a_field_that_both_changed_is_shown_with_both_values_and_a_choice(
    book: Notebook, ann: Visitor, choice: str, title: str
) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, title="theirs", body="their note")
    page = ann.send({"title": "mine", "kind": "letter"})
    assert page.status == 409 and book.row(note)["kind"] == "memo", "nothing is written yet"
    assert "Title: differs from the saved value" in page.text
    assert "The saved value: theirs" in page.text
    fields = dict(page.form.fields)
    assert (fields["title"], fields["kind"]) == ("mine", "letter")
    assert fields["body"].strip() == "their note", "what the person left alone is fresh"
    assert [value for value, _ in page.form.choices["title.choice"]] == ["theirs", "mine"]
    assert ann.send().status == 409, "no value is chosen yet"
    assert ann.send({"title.choice": "whatever"}).status == 409
    assert ann.send({"title.choice": choice}).status == 303
    row = book.row(note)
    assert (row["title"], row["kind"], row["body"]) == (title, "letter", "their note")


def test_after_a_conflict_another_change_is_a_conflict_again(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, title="theirs")
    ann.send({"title": "mine"})
    book.change(note, title="theirs anew", body="theirs")
    page = ann.send({"title.choice": "mine"})
    assert page.status == 409 and "The saved value: theirs anew" in page.text
    assert ("title.choice", "mine") in page.form.fields, "the choice is kept"
    assert ann.send().status == 303
    assert book.row(note)["title"] == "mine" and book.row(note)["body"] == "theirs"


def test_what_is_wrong_keeps_the_base_that_the_form_began_with(
    book: Notebook, ann: Visitor
) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, body="theirs", title="theirs")
    page = ann.send({"title": "x" * 41, "price": "dear"})
    assert page.status == 409
    page = ann.send({"title.choice": "mine"})
    assert page.status == 422 and "at most 40" in page.text
    assert ("title.choice", "mine") in page.form.fields
    book.link(note, "l2")
    page = ann.send({"title": "mine", "price": "3"})
    assert page.status == 303
    row = book.row(note)
    assert (row["title"], row["price"], row["body"]) == ("mine", 3, "theirs")
    assert row[LINKS] == ["l0", "l1", "l2"]


def test_a_search_for_a_target_keeps_the_base(book: Notebook, ann: Visitor) -> None:
    names = [f"n{n:03}" for n in range(60)]
    book.labels(*names)
    note = book.note(**FULL)
    ann.edit(note)
    book.change(note, body="theirs", label_id="l1")
    page = ann.send({"title": "mine", "label_id.q": "n05", "_search": "label_id"})
    assert page.status == 200 and "n059" in dict(page.form.choices["label_id"])
    page = ann.send({"label_id": "n059"})
    assert page.status == 409 and "The saved value: l1" in page.text
    assert ann.send({"label_id.choice": "mine"}).status == 303
    row = book.row(note)
    assert (row["title"], row["body"], row["label_id"]) == ("mine", "theirs", "n059")


def test_times_are_read_by_the_clock_that_the_form_was_shown_with(
    book: Notebook, ann: Visitor
) -> None:
    note = book.note(**FULL)
    ann.identity = replace(ann.identity, time_zone="Asia/Tokyo")
    assert dict(ann.edit(note).form.fields)["due"] == "2030-01-01T19:00:07"
    ann.identity = replace(ann.identity, time_zone="America/New_York")
    assert ann.send({"title": "new"}).status == 303
    assert book.row(note)["due"].microsecond == 123456
    ann.identity = replace(ann.identity, time_zone="Asia/Tokyo")
    ann.edit(note)
    ann.identity = replace(ann.identity, time_zone="UTC")
    assert ann.send({"due": "2030-01-01T20:00"}).status == 303
    assert book.row(note)["due"] == datetime(2030, 1, 1, 11, 0, tzinfo=UTC)


def another_row(book: Notebook, ann: Visitor, note: str) -> str:
    return str(dict(ann.edit(book.note()).form.fields)["_base"])


def another_user(book: Notebook, ann: Visitor, note: str) -> str:
    ann.identity = replace(ann.identity, user="bob")
    base = dict(ann.edit(note).form.fields)["_base"]
    ann.identity = replace(ann.identity, user="ann")
    return str(base)


def altered(book: Notebook, ann: Visitor, note: str) -> str:
    base = dict(ann.edit(note).form.fields)["_base"]
    return base[:50] + ("B" if base[50] == "A" else "A") + base[51:]


BASES: dict[str, Callable[[Notebook, Visitor, str], str]] = {
    "of another row": another_row, "of another user": another_user,
    "altered": altered, "missing": lambda *_: "",
    "no base64": lambda *_: "ü", "too short": lambda *_: "AAAA",
}  # fmt: skip


@pytest.mark.parametrize("made", BASES.values(), ids=BASES)
def test_without_its_own_base_a_form_writes_nothing_before_a_choice(
    book: Notebook, ann: Visitor, made: Callable[[Notebook, Visitor, str], str]
) -> None:
    note = book.note(**FULL)
    before = book.row(note)
    base = made(book, ann, note)
    ann.edit(note)
    pairs = [("title", "typed"), ("body", ""), (LINKS, "l1"), (LINKS, "l2"), ("flag", "true")]
    page = post(ann, note, [("_base", base), *pairs, ("title.choice", "mine")])
    assert page.status == 409 and "too old or was altered" in page.text
    assert book.row(note) == before
    fields = dict(page.form.fields)
    assert fields["title"] == "typed" and sorted(linked(page)) == ["l1", "l2"]
    asked = {name for name in page.form.choices if name.endswith(".choice")}
    assert asked == {"title.choice", "body.choice", LINKS + ".choice"}
    book.link(note, "l3")
    answers = {"title.choice": "mine", "body.choice": "theirs", LINKS + ".choice": "mine"}
    assert ann.send(answers).status == 303
    assert book.row(note) == before | {"title": "typed", LINKS: ["l1", "l2", "l3"]}


def test_a_role_that_is_granted_or_revoked_meanwhile_changes_no_value(
    book: Notebook, ann: Visitor
) -> None:
    note = book.note(**FULL)
    ann.identity = replace(ann.identity, roles=frozenset())
    assert "secret" not in dict(ann.edit(note).form.fields)
    ann.identity = replace(ann.identity, roles=frozenset(["editor"]))
    assert ann.send({"title": "granted"}).status == 303
    assert book.row(note)["secret"] == "s" and book.row(note)["title"] == "granted"
    ann.edit(note)
    ann.identity = replace(ann.identity, roles=frozenset())
    assert ann.send({"title": "revoked"}).status == 303, "the field was not touched"
    ann.identity = replace(ann.identity, roles=frozenset(["editor"]))
    ann.edit(note)
    ann.identity = replace(ann.identity, roles=frozenset())
    page = ann.send({"secret": "mine", "title": "dropped"})
    assert page.status == 409 and "Secret: can no longer be changed here" in page.text
    assert ann.send().status == 303
    assert book.row(note)["secret"] == "s" and book.row(note)["title"] == "dropped"


def test_a_form_outlives_a_change_of_the_schema(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    before = book.row(note)
    ann.schema = "without"
    ann.edit(note)
    ann.schema = "all"
    assert ann.send({"title": "more fields"}).status == 303
    assert book.row(note) == before | {"title": "more fields"}
    ann.edit(note)
    ann.schema = "without"
    page = ann.send({"title": "fewer fields", "price": "9"})
    assert page.status == 409 and "Price: can no longer be changed here" in page.text
    assert ann.send().status == 303
    assert book.row(note) == before | {"title": "fewer fields"}


def test_a_note_that_was_deleted_meanwhile_keeps_what_was_typed(
    book: Notebook, ann: Visitor
) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.delete(note)
    page = ann.send({"title": "typed"})
    assert page.status == 404 and "This has been deleted since you opened it" in page.text
    assert dict(page.form.fields)["title"] == "typed"
    assert ann.get(note + "/edit").status == 404


def test_a_note_that_was_restored_meanwhile_is_merged(book: Notebook, ann: Visitor) -> None:
    note = book.note(**FULL)
    ann.edit(note)
    book.delete(note, restore=True)
    book.change(note, body="theirs")
    assert ann.send({"title": "mine"}).status == 303
    assert book.row(note)["title"] == "mine" and book.row(note)["body"] == "theirs"


def test_a_new_note_gets_defaults_for_inputs_that_were_not_sent(
    book: Notebook, ann: Visitor
) -> None:
    ann.get("/notes/new")
    token = dict(ann.page.form.fields)["_csrf_token"]
    body = urlencode([("_csrf_token", token), ("title", "t"), ("flag", "")]).encode()
    page = ann.ask("POST", "/notes/new", body)
    assert page.status == 303
    note = page.headers["Location"].partition("?")[0]
    assert book.row(note)["flag"] is False and book.row(note)[LINKS] == []


def test_a_projects_own_update_runs_once_in_a_request(
    book: Notebook, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, calls = book.note(**FULL), []
    actions = type(book.actions["all"]["notes"])
    update = actions.update

    def own(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        change = "update notes set body = 'theirs', version = version + 1 where id = %s"
        book.owner.execute(change, (note.rpartition("/")[2],))
        return update(self, *args, **options)

    ann.edit(note)
    monkeypatch.setattr(actions, "update", own)
    page = ann.send({"title": "mine"})
    assert page.status == 409 and len(calls) == 1 and "Save again" in page.text
    monkeypatch.setattr(actions, "update", update)
    assert ann.send().status == 303
    assert book.row(note)["title"] == "mine" and book.row(note)["body"] == "theirs"


def test_a_search_without_any_choice_yet_finds_something(book: Notebook, ann: Visitor) -> None:
    book.labels(*(f"n{n:03}" for n in range(60)))
    note = book.note(title="t")
    ann.edit(note)
    page = ann.send({"label_id.q": "n05", "_search": "label_id"})
    assert "n059" in dict(page.form.choices["label_id"])
    assert ann.send({"label_id": "n059"}).status == 303
    assert book.row(note)["label_id"] == "n059"


def test_forms_that_are_saved_at_once_lose_nothing(book: Notebook) -> None:
    note = book.note(**FULL)
    values = {"title": "1", "body": "2", "price": "3", "extra": "4", "secret": "5", LINKS: ["l2"]}
    people = [Visitor(book, "ann", "editor") for _ in values]
    for person in people:
        person.edit(note)
    book.link(note, "l3")
    sends = [partial(p.send, {name: value}) for p, (name, value) in zip(people, values.items())]
    assert together(*sends) == []
    assert [person.page.status for person in people] == [303] * len(people)
    row = book.row(note)
    assert [str(row[name]) for name in values] == ["1", "2", "3.00", "4", "5", "['l2', 'l3']"]
