"""Titles, lists, related rows, history, selections, verbs and the start page of tests/clinic."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.app import App, Runtime, declared_router
from forge_min.auth import (
    ANONYMOUS,
    SYSTEM,
    Identity,
    as_identity,
    current_identity,
    require,
)
from forge_min.db import EmbeddedServer
from forge_min.errors import ConfigError, Forbidden, Unauthenticated, Unavailable
from forge_min.generate import generate
from forge_min.html.lists.many_rows import insert_operation
from forge_min.jobs.control import show_job
from forge_min.migrations import diff
from forge_min.ops import load_project
from forge_min.parse import parse_project
from forge_min.testing import (
    Client,
    ClientResponse,
    drain_jobs,
    enqueued,
    fresh_database,
    running_app,
)

from catalogues import catalogues
from waiting import wait_for
from wide_project import importable

pytestmark = pytest.mark.db
CLINIC = Path(__file__).parents[1] / "clinic"
NURSE = {"X-Test-User": "nina", "X-Test-Roles": "nurse", "Accept": "text/html, */*;q=0.1"}
DOCTOR = NURSE | {"X-Test-User": "dora", "X-Test-Roles": "doctor"}


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of tests/clinic with gen/ and its migration."""
    root = tmp_path_factory.mktemp("made") / "clinic"
    shutil.copytree(CLINIC, root)
    parsed = parse_project(root, ("nurse", "doctor"))
    assert parsed.diagnostics == (), "\n".join(d.format() for d in parsed.diagnostics)
    generate(root, parsed.resources)
    first = diff(root, parsed.resources, [])
    assert first is not None
    first.write()
    return root


@pytest.fixture
def site(clinic: Path, server: EmbeddedServer) -> Iterator[Runtime]:
    migrations = (*db.FORGE_MIGRATIONS, *db.read_migrations(clinic / "migrations", "app"))
    with (
        importable(clinic),
        fresh_database(server, migrations) as database,
        running_app(database) as running,
    ):
        yield running


def add(site: Runtime, path: str, headers: dict[str, str] = DOCTOR, **values: object) -> str:
    made = Client(site).post(f"/api/v1/{path}", json=values, headers=headers)
    assert made.status == 201, made.text
    return str(made.json["id"])


def admit(site: Runtime, name: str = "Ann", ward: str = "", **values: object) -> str:
    """A planned admission of a new patient with a secret diagnosis."""
    patient = add(site, "patients", name=name, diagnosis="gout")
    ward = ward or add(site, "wards", name="North")
    return add(site, "admissions", NURSE, patient_id=patient, ward_id=ward, **values)


def page(site: Runtime, path: str, headers: dict[str, str] = NURSE) -> str:
    answer = Client(site).get(path, headers=headers)
    assert answer.status == 200, answer.text
    return answer.text


def texts(markup: str) -> str:
    """The words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def submit(
    site: Runtime, path: str, headers: dict[str, str], at: str = "/admissions", **fields: object
) -> ClientResponse:
    """Send a form of a page as a browser does.

    at: the page. A form of a row is on the page of the row, and has the version shown there.
    """
    client = Client(site)
    row, is_of_row, _ = path.replace("/verbs/", "/transitions/").partition("/transitions/")
    at = row if is_of_row else at
    shown = client.get(at, headers=headers)
    if "_csrf_token" not in shown.text:  # a list without rows
        shown = client.get("/patients/new", headers=headers)
    found = re.search(r'name="_csrf_token" value="([^"]+)"', shown.text)
    assert found
    version = re.search(r'name="version" value="([0-9]+)"', shown.text)
    if is_of_row and version:
        fields = {"version": version[1]} | fields
    sent = headers | {"Content-Type": "application/x-www-form-urlencoded"}
    sent["Cookie"] = str(shown.headers["Set-Cookie"]).partition(";")[0]
    body = urlencode({"_csrf_token": found[1], **fields}, doseq=True).encode()
    return client.request("POST", path, body=body, headers=sent)


def confirm(
    site: Runtime, path: str, headers: dict[str, str], at: str = "/admissions", **fields: object
) -> ClientResponse:
    """Send the form of selected rows, and then that of the confirmation."""
    asked = submit(site, path, headers, at, **fields)
    return submit(site, path, headers, at, **fields, confirmed=confirmation(asked))


def confirmation(asked: ClientResponse) -> str:
    """The signature in the form of a confirmation."""
    found = re.search(r'name="confirmed" value="([^"]+)"', asked.text)
    assert found, asked.text
    return found[1]


def test_a_row_has_the_title_of_the_schema_wherever_it_is_named(site: Runtime) -> None:
    key = admit(site)
    title = "Ann, North (gout)"
    for path in ("/admissions", f"/admissions/{key}", f"/admissions/{key}/delete"):
        headers = NURSE if path.endswith("delete") else DOCTOR
        expected = title if headers is DOCTOR else "Ann, North (–)"
        assert expected in texts(page(site, path, headers)), path
    shown = page(site, f"/admissions/{key}", DOCTOR)
    assert f"<h1>{title}</h1>" in shown and key not in texts(shown)
    assert f"<title>{title} · St. Clare</title>" in shown


def test_a_hidden_field_never_leaks_through_a_title(site: Runtime) -> None:
    key = admit(site)
    patient = page(site, f"/admissions/{key}").partition('href="/patients/')[2].partition('"')[0]
    for path in (
        "/",
        "/admissions",
        f"/admissions/{key}",
        f"/patients/{patient}",
        "/admissions.csv",
    ):
        assert "gout" not in page(site, path), path
    assert "gout" in page(site, f"/admissions/{key}", DOCTOR)


def test_a_row_without_a_name_is_called_by_its_kind_and_never_by_its_uuid(site: Runtime) -> None:
    key = admit(site)
    with db.connect(site.registry.database.url) as conn:
        conn.execute("update patients set name = '', diagnosis = null")
        conn.execute("update wards set name = ''")
    shown = page(site, f"/admissions/{key}")
    assert re.search(r"<h1>Admission, \d{4}-\d\d-\d\d \d\d:\d\d</h1>", shown)


def test_a_list_shows_its_numbers_and_reaches_every_page(site: Runtime) -> None:
    ward = add(site, "wards", name="North")
    for n in range(7):
        admit(site, f"p{n}", ward)
    seen: list[str] = []
    url, ways = "/admissions?limit=3", []
    for expected in ("1–3 of 7", "4–6 of 7", "7–7 of 7"):
        shown = page(site, url)
        assert expected in texts(shown)
        seen += re.findall(r">(p\d), North", shown)
        ways.append(link(shown, "Next"))
        url = ways[-1] or url
    assert sorted(seen) == [f"p{n}" for n in range(7)] and ways[-1] == ""
    last = page(site, link(page(site, "/admissions?limit=3"), "Last"))
    assert "5–7 of 7" in texts(last) and len(re.findall(r">p\d, North", last)) == 3
    assert link(last, "Next") == "" and "1–3 of 7" in texts(page(site, link(last, "First")))
    assert "2–4 of 7" in texts(page(site, link(last, "Previous")))


def link(shown: str, label: str) -> str:
    """The target of a link of the pager, "" if there is none."""
    found = re.search(rf'href="([^"]+)"[^>]*>{label}<', shown)
    return html.unescape(found[1]) if found else ""


def test_a_count_above_ten_thousand_is_an_estimate_that_says_so(site: Runtime) -> None:
    with db.connect(site.registry.database.url) as conn:
        conn.execute("insert into patients (name) select 'p' || n from generate_series(1, 10000) n")
        assert "1–25 of 10,000" in texts(page(site, "/patients"))
        conn.execute("insert into patients (name) select 'q' || n from generate_series(1, 5000) n")
    found = re.search(r"1–25 of about ([\d,]+)", texts(page(site, "/patients")))
    assert found and int(found[1].replace(",", "")) >= 10_001


def test_a_list_with_titles_of_two_relations_takes_three_queries(site: Runtime) -> None:
    ward = add(site, "wards", name="North")
    for n in range(25):
        admit(site, f"p{n}", ward)
    queries: list[str] = []
    conn = site.registry.database.connection()
    before, conn.observe = conn.observe, lambda operation, seconds: queries.append(operation)
    try:
        shown = page(site, "/admissions")
    finally:
        conn.observe = before
    assert len(re.findall(r">p\d+, North", shown)) == 25 and len(queries) == 3, queries


def test_the_filter_form_is_shown_on_demand(site: Runtime) -> None:
    admit(site, due="2026-01-05")
    shown = page(site, "/admissions?status=planned")
    assert 'name="due[gte]"' not in shown
    assert '<input type="hidden" name="status" value="planned">' in shown
    form = page(site, html.unescape(re.findall(r'href="([^"]+)">Filter<', shown)[0]))
    assert 'name="due[gte]"' in form and "Status: planned" in texts(form)


def test_conditions_are_chips_that_a_click_removes(site: Runtime) -> None:
    admit(site, "Ann", due="2026-01-05")
    url = "/admissions?due%5Bgte%5D=2026-01-01&status=planned&sort=due"
    shown = page(site, url)
    assert "Due from 2026-01-01" in texts(shown) and "Status: planned" in texts(shown)
    removals = re.findall(r'<li><a href="([^"]+)" title="Remove"', shown)
    (without,) = [html.unescape(url) for url in removals if "2026-01-01" not in url]
    assert "status=planned" in without and "sort=due" in without
    assert "Due from" not in texts(page(site, without))


def test_numbers_and_days_are_written_as_in_the_language(site: Runtime, tmp_path: Path) -> None:
    words = {"1,234.5": "1.234,5", "%Y-%m-%d": "%d.%m.%Y", "{first}–{last} of {total}": "{total}!"}
    admit(site, due="2026-01-05")
    with db.connect(site.registry.database.url) as conn:
        conn.execute("insert into patients (name) select 'p' || n from generate_series(1, 1999) n")
    with catalogues(tmp_path, {"de": words}):
        german = NURSE | {"Accept-Language": "de"}
        assert '<time datetime="2026-01-05">05.01.2026</time>' in page(site, "/admissions", german)
        assert "2.000!" in texts(page(site, "/patients", german))
    assert ">2026-01-05<" in page(site, "/admissions")
    with catalogues(tmp_path, {"de": {"1,234.5": "nonsense"}}):
        assert "of 2,000" in texts(page(site, "/patients", german))


def test_a_user_chooses_the_columns(site: Runtime) -> None:
    admit(site, due="2026-01-05")
    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page(site, "/admissions?_columns=due"))
    assert [texts(head) for head in heads] == ["Admission", "Due"]


def test_related_rows_are_listed_with_their_number_and_a_form(site: Runtime) -> None:
    ward = add(site, "wards", name="North")
    for n in range(12):
        admit(site, f"p{n}", ward)
    shown = page(site, f"/wards/{ward}")
    assert "Admissions 12" in texts(shown)
    assert len(re.findall(r">p\d+, North", shown)) == 10
    assert f'href="/admissions/new?ward_id={ward}"' in shown
    assert f'href="/admissions?ward_id={ward}"' in shown
    assert f'value="{ward}" selected' in page(site, f"/admissions/new?ward_id={ward}")
    assert "/admissions/new" not in page(site, f"/wards/{ward}", DOCTOR)  # only nurses create


def test_history_is_written_in_sentences(site: Runtime) -> None:
    key = admit(site)
    ward = add(site, "wards", name="South")
    answer = Client(site).patch(f"/api/v1/admissions/{key}", json={"ward_id": ward}, headers=NURSE)
    assert answer.status == 200
    shown = texts(page(site, f"/admissions/{key}"))
    assert "nina changed Ward from North to South , just now" in shown
    assert "nina created this, just now" in shown


def test_an_operation_on_selected_rows_is_done_on_all_or_on_none(site: Runtime) -> None:
    keys = [admit(site, f"p{n}") for n in range(3)]
    assert submit(site, f"/admissions/{keys[0]}/transitions/admit", NURSE).status == 303
    asked = submit(site, "/admissions/-/selected", NURSE, operation="admit", key=keys)
    assert (
        asked.status == 200
        and "Do it for these rows?" in asked.text
        and asked.text.count('name="key"') == 3
    )
    done = confirm(site, "/admissions/-/selected", NURSE, operation="admit", key=keys)
    assert done.status == 409 and "Nothing was changed." in done.text
    assert (
        done.text.count("the state is admitted") == 1 and "Do it for the other rows?" in done.text
    )
    assert "Status: planned" in texts(page(site, "/admissions?status=planned"))
    two = texts(page(site, "/admissions?status[in]=planned,admitted"))
    assert "Status: planned, admitted" in two
    others = {"operation": "admit", "key": keys[1:], "confirmed": confirmation(done)}
    again = submit(site, "/admissions/-/selected", NURSE, **others)
    assert again.status == 303
    assert "No matching rows" in page(site, "/admissions?status=planned")
    csv = submit(site, "/admissions/-/selected", NURSE, operation="csv", key=keys[:2])
    assert csv.status == 200 and csv.text.count("admitted") == 2


def test_only_permitted_operations_are_possible_on_selected_rows(site: Runtime) -> None:
    key = admit(site)
    for operation in ("delete", "admit", "hidden", "nonsense"):
        answer = submit(
            site, "/admissions/-/selected", DOCTOR, operation=operation, key=key, confirmed=1
        )
        assert answer.status in (400, 403), operation
    shown = page(site, "/admissions", DOCTOR)
    assert 'value="discharge"' in shown and 'value="delete"' not in shown


def test_deleted_rows_are_in_the_trash_until_they_are_restored(site: Runtime) -> None:
    key = admit(site)
    gone = confirm(site, "/admissions/-/selected", NURSE, operation="delete", key=key)
    assert gone.status == 303 and "There are no rows yet" in page(site, "/admissions")
    trash = page(site, "/admissions/-/trash")
    assert "Ann, North" in trash and f'href="/admissions/{key}"' not in trash
    assert Client(site).get("/admissions/-/trash", headers=DOCTOR).status == 403
    chosen: dict[str, object] = {"operation": "restore", "key": key}
    action = form_action(trash)
    asked = submit(site, action, NURSE, at="/admissions/-/trash", **chosen)
    assert "Ann, North" in texts(asked.text) and key not in texts(asked.text)
    chosen["confirmed"] = confirmation(asked)
    back = submit(site, action, NURSE, at="/admissions/-/trash", **chosen)
    assert back.status == 303 and "Ann, North" in page(site, "/admissions")


def form_action(shown: str) -> str:
    found = re.search(r'<form id="selected"[^>]*action="([^"]+)"', shown)
    assert found
    return html.unescape(found[1])


def test_all_rows_of_a_list_are_changed_by_a_job_or_none(site: Runtime) -> None:
    with as_identity(SYSTEM):
        patients, admissions = (site.registry.actions[n] for n in ("patients", "admissions"))
        ward = site.registry.actions["wards"].create({"name": "North"})
        patients.create_many([{"name": f"p{n}"} for n in range(130)])
        admissions.create_many(
            [
                {"patient_id": row.id, "ward_id": ward.id, "due": f"2026-01-{1 + n % 2:02}"}
                for n, row in enumerate(patients.stream())
            ]
        )
    few = page(site, "/admissions?due=2026-01-01")
    assert "All rows of the list" in few and form_action(few).endswith("?due=2026-01-01")
    chosen: dict[str, object] = {"operation": "admit", "all": 1}
    asked = submit(site, form_action(few), NURSE, **chosen)
    assert "Do it for these rows?" in asked.text and asked.text.count('name="key"') == 65

    action = form_action(page(site, "/admissions"))
    asked = submit(site, action, NURSE, **chosen)
    assert "Do it for 130 rows? A job does it" in asked.text and 'name="key"' not in asked.text
    assert not enqueued(site, "forge_perform")
    chosen |= {"confirmed": 130, "_once": "a token"}
    again = submit(site, action, NURSE, **chosen)
    assert again.status == 409 and "The rows have changed" in again.text, "a count confirms nothing"
    chosen["confirmed"] = confirmation(again)
    assert submit(site, action, DOCTOR, **chosen | {"operation": "delete"}).status == 400
    started = submit(site, action, NURSE, **chosen)
    assert submit(site, action, NURSE, **chosen).headers["Location"] == started.headers["Location"]
    where = started.headers["Location"] or ""
    assert started.status == 303 and where.startswith("/admissions/-/selected/")
    waiting = Client(site).get(where, headers=NURSE)
    assert "Working on 130 rows" in waiting.text and waiting.headers["Refresh"] == "3"
    for other in (DOCTOR, NURSE | {"X-Test-User": "norbert"}):
        assert Client(site).get(where, headers=other).status == 404
    assert Client(site).get(where.replace("admissions", "patients"), headers=NURSE).status == 404
    drain_jobs(site)
    done = Client(site).get(where, headers=NURSE)
    assert "Done for 130 rows." in done.text and "Refresh" not in done.headers
    assert "No matching rows" in page(site, "/admissions?status=planned")

    one = page(site, "/admissions").partition('name="key" value="')[2].partition('"')[0]
    discharge: dict[str, object] = {"reason": "well again"}
    submit(site, f"/admissions/{one}/transitions/discharge", DOCTOR, **discharge)
    discharge |= {"operation": "discharge", "all": 1}
    where = confirm(site, action, DOCTOR, **discharge).headers["Location"] or ""
    drain_jobs(site)
    shown = page(site, where, DOCTOR)
    assert "Nothing was changed. Rows with an error: 1." in texts(shown)
    assert shown.count("the state is discharged") == 1 and one not in texts(shown)
    assert "No matching rows" not in page(site, "/admissions?status=admitted")
    assert "select at most 100 rows" in submit(site, action, DOCTOR, operation="round", all=1).text
    for number in ("9" * 30, "9" * 5000, "x"):
        path = f"/admissions/-/selected/{number}"
        assert Client(site).get(path, headers=NURSE).status == 404


def test_a_job_acts_with_the_roles_of_its_user(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles that project code asks for, and a session that has ended in the meantime."""
    with as_identity(SYSTEM):
        patients, wards = site.registry.actions["patients"], site.registry.actions["wards"]
        ward = wards.create({"name": "North"})
        patients.create_many([{"name": f"p{n}"} for n in range(101)])
        rows = [{"patient_id": row.id, "ward_id": ward.id} for row in patients.stream()]
        site.registry.actions["admissions"].create_many(rows)
    kind = type(site.registry.actions["admissions"])
    original, seen = kind.transition, set[Identity]()

    def transition(self: Any, *args: Any, **options: Any) -> object:
        seen.add(current_identity())
        require("nurse")
        return original(self, *args, **options)

    monkeypatch.setattr(kind, "transition", transition)
    action = form_action(page(site, "/admissions"))
    chosen: dict[str, object] = {"operation": "admit", "all": 1}
    where = confirm(site, action, NURSE, **chosen).headers["Location"] or ""
    drain_jobs(site)
    assert "Done for 101 rows." in page(site, where)
    assert {(each.user, each.system) for each in seen} == {("nina", False)}

    conn = site.registry.database.connection()
    ended = Identity("nina", frozenset({"doctor"}), credential=f"session:{uuid4()}")
    with as_identity(ended):
        pairs = {"reason": ["well"], "_once": ["another"]}
        rows = {row.id: row.version for row in site.registry.actions["admissions"].stream()}
        job = insert_operation(site.registry.actions["admissions"], rows, "discharge", pairs)
    drain_jobs(site, failures=True)
    shown = page(site, f"/admissions/-/selected/{job}")
    assert f"Nothing was changed. An administrator sees the reason: job {job}." in texts(shown)
    assert "the session of the user has ended" in str(show_job(conn, job)["errors"])
    with as_identity(ANONYMOUS), pytest.raises(Unauthenticated):
        insert_operation(site.registry.actions["admissions"], rows, "admit", pairs)
    with as_identity(Identity("nina", frozenset({"nurse"}))), pytest.raises(Forbidden):
        insert_operation(site.registry.actions["admissions"], rows, "discharge", pairs)


def test_a_verb_is_called_on_all_selected_rows_or_on_none(site: Runtime) -> None:
    keys = [admit(site, f"p{n}") for n in range(3)]
    chosen: dict[str, object] = {"operation": "admit", "key": keys[1:]}
    confirm(site, "/admissions/-/selected", NURSE, **chosen)
    chosen = {"operation": "round", "key": keys}
    refused = confirm(site, "/admissions/-/selected", DOCTOR, **chosen)
    assert refused.status == 409 and refused.text.count("not admitted") == 1
    assert submit(site, "/admissions/-/selected", NURSE, **chosen).status == 400
    chosen |= {"confirmed": confirmation(refused), "key": keys[1:]}
    assert submit(site, "/admissions/-/selected", DOCTOR, **chosen).status == 303


def test_a_transition_needs_one_of_its_roles(site: Runtime) -> None:
    """The roles of the schema; without any, those of an update. On pages as in the API."""
    key = admit(site)
    client, path = Client(site), f"/api/v1/admissions/{key}"
    assert client.post(f"{path}/admit", json={}, headers=DOCTOR).status == 403
    assert client.post(f"{path}/admit", json={}, headers=NURSE).status == 200
    for headers, status in ((NURSE, 403), ({}, 401)):
        for row in (key, "none"):  # neither the row nor the body is looked at
            for body in ({"reason": "well"}, {"reason": 1}):
                discharge = f"/api/v1/admissions/{row}/discharge"
                sent = headers | {"Idempotency-Key": "k"}
                assert client.post(discharge, json=body, headers=headers).status == status
                assert client.post(discharge, json=body, headers=sent).status == status
    assert submit(site, f"/admissions/{key}/transitions/discharge", NURSE).status == 403
    chosen = {"operation": "discharge", "key": key, "reason": "well", "confirmed": 1}
    assert submit(site, "/admissions/-/selected", NURSE, **chosen).status == 400
    assert client.get(path, headers=NURSE).json["status"] == "admitted"
    answer = client.post(f"{path}/discharge", json={"reason": "well"}, headers=DOCTOR)
    assert answer.json["status"] == "discharged"


def test_verbs_are_buttons_and_their_errors_are_shown(site: Runtime) -> None:
    key = admit(site)
    shown = page(site, f"/admissions/{key}", DOCTOR)
    assert f'action="/admissions/{key}/verbs/round"' in shown and "verbs/hidden" not in shown
    assert "verbs/round" not in page(site, f"/admissions/{key}")
    refused = submit(site, f"/admissions/{key}/verbs/round", DOCTOR)
    assert refused.status == 409 and "not admitted" in refused.text
    assert submit(site, f"/admissions/{key}/verbs/hidden", DOCTOR).status == 404
    assert submit(site, f"/admissions/{key}/verbs/round", NURSE).status == 403
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    assert submit(site, f"/admissions/{key}/verbs/round", DOCTOR).status == 303


def test_a_button_performs_its_operation_only_on_the_row_that_its_page_showed(
    site: Runtime,
) -> None:
    key = admit(site)
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    old = {"version": 2, "reason": "well & happy"}
    changed = Client(site).patch(f"/api/v1/admissions/{key}", json={"note": "new"}, headers=NURSE)
    assert changed.status == 200
    for version in ({}, {"version": ""}, {"version": 0}, {"version": "9" * 40}):
        sent = old | {"version": None} | version
        late = submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, **sent)
        assert late.status == 409 and "read it again" in late.text and "new" in texts(late.text)
        assert 'name="version" value="3"' in late.text
    assert submit(site, f"/admissions/{key}/verbs/round", DOCTOR, version=2).status == 409
    assert "Status admitted" in texts(page(site, f"/admissions/{key}"))
    assert submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, **old).status == 409
    assert submit(site, f"/admissions/{key}/verbs/round", DOCTOR).status == 303
    again = submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, reason="well")
    assert again.status == 303
    assert submit(site, f"/admissions/{uuid4()}/verbs/round", DOCTOR, version=1).status == 404


def test_if_match_of_a_verb_is_the_version_that_the_row_must_have(site: Runtime) -> None:
    key = admit(site)
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    for tag, status in (('"1"', 412), ('"x"', 412), ('"2"', 200), ("*", 200)):
        headers = DOCTOR | {"If-Match": tag}
        answer = Client(site).post(f"/api/v1/admissions/{key}/round", json={}, headers=headers)
        assert answer.status == status, tag
    assert Client(site).post(f"/api/v1/admissions/{key}/round", headers=DOCTOR).status == 200


def test_no_form_and_no_request_changes_what_a_state_locks(site: Runtime) -> None:
    key = admit(site, note="old", due="2026-01-05")
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, reason="well")
    shown = page(site, f"/admissions/{key}/edit")
    locked = "".join(re.findall(r"<fieldset [^>]*disabled[^>]*>.*?</fieldset>", shown, re.S))
    assert "old</textarea>" in locked and 'name="ward_id"' in locked and "due" not in locked
    url = f"/api/v1/admissions/{key}"
    row = Client(site).get(url, headers=NURSE).json
    for method, body in (("PATCH", {"note": "new"}), ("PUT", row | {"note": None})):
        sent = NURSE | {"Content-Type": "application/json"}
        refused = Client(site).request(method, url, body=json.dumps(body).encode(), headers=sent)
        assert refused.status == 422, refused.text
        assert [e["pointer"] for e in refused.json["errors"]] == ["/note"]
        assert "in the present state" in refused.text
    same = Client(site).patch(url, json={"note": "old", "due": "2026-01-06"}, headers=NURSE)
    assert same.status == 200 and same.json["due"] == "2026-01-06"
    base = re.search(r'name="_base" value="([^"]+)"', page(site, f"/admissions/{key}/edit"))
    assert base
    sent = {"_base": base[1], "note": "new", "due": "2026-01-07"}
    refused = submit(site, f"/admissions/{key}/edit", NURSE, **sent)
    assert refused.status == 422 and "cannot be changed in the present state" in refused.text


def test_who_performed_an_operation_on_a_row_has_no_button_for_the_next(site: Runtime) -> None:
    key = admit(site)
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, reason="well")
    other = DOCTOR | {"X-Test-User": "dan"}
    assert "transitions/readmit" not in page(site, f"/admissions/{key}", DOCTOR)
    assert "transitions/readmit" in page(site, f"/admissions/{key}", other)
    refused = submit(site, f"/admissions/{key}/transitions/readmit", DOCTOR)
    assert (
        refused.status == 409 and "another user than the one of create, discharge" in refused.text
    )
    assert "not by: Create, discharge" in texts(page(site, "/admissions/-/states"))
    assert submit(site, f"/admissions/{key}/transitions/readmit", other).status == 303


def test_a_confirmation_is_for_the_rows_as_they_were_for_one_user_and_operation(
    site: Runtime,
) -> None:
    keys = [admit(site, f"p{n}") for n in range(2)]
    path = "/admissions/-/selected"
    chosen: dict[str, object] = {"operation": "admit", "key": keys}
    chosen["confirmed"] = confirmation(submit(site, path, NURSE, **chosen))
    other = NURSE | {"X-Test-User": "norbert"}
    assert submit(site, path, other, **chosen).status == 409
    assert submit(site, path, NURSE, **chosen | {"operation": "delete"}).status == 409
    assert submit(site, path, NURSE, **chosen | {"key": keys[:1]}).status == 409
    Client(site).patch(f"/api/v1/admissions/{keys[1]}", json={"note": "new"}, headers=NURSE)
    late = submit(site, path, NURSE, **chosen)
    assert late.status == 409 and "The rows have changed" in late.text
    assert "No matching rows" in page(site, "/admissions?status=admitted")
    chosen["confirmed"] = confirmation(late)
    assert submit(site, path, NURSE, **chosen).status == 303
    assert "No matching rows" in page(site, "/admissions?status=planned")


def test_a_row_that_changed_after_the_confirmation_is_an_error_of_the_job(site: Runtime) -> None:
    with as_identity(SYSTEM):
        patients, admissions = (site.registry.actions[n] for n in ("patients", "admissions"))
        ward = site.registry.actions["wards"].create({"name": "North"})
        patients.create_many([{"name": f"p{n}"} for n in range(101)])
        rows = [{"patient_id": row.id, "ward_id": ward.id} for row in patients.stream()]
        admissions.create_many(rows)
    action = form_action(page(site, "/admissions"))
    where = confirm(site, action, NURSE, operation="admit", all=1).headers["Location"] or ""
    with as_identity(SYSTEM):
        for row in [*admissions.stream()][:2]:
            admissions.update(row.id, {"note": "new"}, version=row.version)
    drain_jobs(site)
    shown = page(site, where)
    assert "Rows with an error: 2." in texts(shown) and shown.count("read it again") == 2

    where = confirm(site, action, NURSE, operation="admit", all=1).headers["Location"] or ""
    with db.connect(site.registry.database.url) as conn:  # as the previous release inserted it
        conn.execute("update forge_job set args = args - 'versions' where state = 'available'")
    drain_jobs(site)
    assert "Done for 101 rows." in page(site, where)


def test_the_start_page_shows_what_waits_counts_and_changes(site: Runtime) -> None:
    assert Client(site).get("/", headers={"Accept": "text/html"}).status == 401
    key = admit(site)
    start = texts(page(site, "/", DOCTOR))
    assert "Waiting for you" not in start  # nobody but a nurse admits
    submit(site, f"/admissions/{key}/transitions/admit", NURSE)
    start = page(site, "/", DOCTOR)
    assert "Waiting for you: Admissions 1 Ann, North (gout) admitted" in texts(start)
    assert "nina changed Ann, North (gout) , just now" in texts(start)
    assert "1 Wards + 1 Patients +" in texts(start) and "1 Admissions" not in texts(start)
    assert "Waiting for you" not in page(site, "/")
    with_reason = {"reason": "well"}
    submit(site, f"/admissions/{key}/transitions/discharge", DOCTOR, **with_reason)
    assert "Waiting for you" not in page(site, "/", DOCTOR)  # a readmission is a step back


def test_pages_of_app_py_get_the_layout_and_the_navigation_has_groups(site: Runtime) -> None:
    board = page(site, "/board", DOCTOR)
    assert "<h1>The board</h1>" in board and '<nav id="menu"' in board
    assert "Care Patients Board" in texts(board) and "Setup Wards Admissions" in texts(board)
    assert re.search(r'<a href="/board"\s+aria-current="page">', board)
    nurse = page(site, "/patients")
    assert "/board" not in nurse
    assert Client(site).get("/board", headers=NURSE).status == 403
    assert page(site, "/bare") == "<!doctype html><title>bare</title>"


def test_a_form_that_is_sent_twice_creates_one_row(site: Runtime) -> None:
    token = re.search(r'name="_once" value="([^"]+)"', page(site, "/patients/new"))
    assert token
    fields = {"_once": token[1], "name": "Ann"}
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(submit, site, "/patients/new", NURSE, **fields) for _ in range(4)]
    answers = [each.result() for each in sent]
    assert {(a.status, a.headers["Location"]) for a in answers} == {
        (303, answers[0].headers["Location"])
    }
    assert "1–1 of 1" in texts(page(site, "/patients"))
    again = submit(site, "/patients/new", NURSE, **fields | {"name": "Bea"})
    assert again.status == 422 and "1–1 of 1" in texts(page(site, "/patients"))
    wrong = submit(site, "/patients/new", NURSE, _once="t2", name="")
    assert wrong.status == 422 and 'name="_once" value="t2"' in wrong.text
    assert submit(site, "/patients/new", NURSE, _once="t2", name="Cem").status == 303


def test_the_color_of_the_project_is_a_stylesheet_with_enough_contrast(site: Runtime) -> None:
    assert '<link rel="stylesheet" href="/static/brand.css">' in page(site, "/patients")
    css = Client(site).get("/static/brand.css", headers=NURSE)
    assert css.headers["Content-Type"].startswith("text/css")
    assert "--accent: #7a1f5c; --on-strong: #ffffff" in css.text


def test_a_form_of_app_py_checks_its_fields_and_saves_once(site: Runtime) -> None:
    with as_identity(SYSTEM):
        patients, wards = site.registry.actions["patients"], site.registry.actions["wards"]
        patients.create_many([{"name": f"patient {n}"} for n in range(60)])
        anna = patients.create({"name": "Anna"})
        ward = wards.create({"name": "North"})
    path = f"/wards/{ward.id}/admit"
    assert Client(site).get(path, headers=DOCTOR).status == 403
    shown = page(site, path)
    assert "Admit a patient" in shown and "from the list" in shown
    assert 'name="ward_id"' not in shown and 'name="status"' not in shown
    assert f'data-pick="{path}/choices?field=patient_id"' in shown
    found = page(site, f"{path}/choices?field=patient_id&q=Anna")
    assert "Anna" in found and f'value="{anna.id}"' in found
    searched = submit(site, path, NURSE, _search="patient_id", note="x", **{"patient_id.q": "Anna"})
    assert searched.status == 200 and f'value="{anna.id}"' in searched.text

    wrong = submit(site, path, NURSE, due="soon", note="n" * 501)
    assert wrong.status == 422 and wrong.text.count('<li><a href="#field-') == 3
    assert ">soon</" in wrong.text or 'value="soon"' in wrong.text
    full = submit(site, path, NURSE, patient_id=anna.id, note="full")
    assert full.status == 422 and "the ward is full" in full.text
    assert "There are no rows yet" in page(site, "/admissions"), "it was one transaction"

    assert Client(site).get(f"{path}/choices?field=patient_id&q=Anna", headers=DOCTOR).status == 403
    unsigned = Client(site).request("POST", path, body=b"note=x", headers=NURSE)
    assert unsigned.status in (403, 415)
    token = re.search(r'name="_once" value="([^"]+)"', page(site, path))
    assert token
    sent = {"patient_id": anna.id, "note": "at night", "_once": token[1]}
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: submit(site, path, NURSE, **sent), range(2)))
    assert [answer.status for answer in both] == [303, 303]
    where = {answer.headers["Location"] for answer in both}
    assert len(where) == 1 and "at night" in page(site, str(where.pop()))
    assert "1–1 of 1" in page(site, "/admissions?status=admitted")
    south = add(site, "wards", name="South")
    again = submit(site, f"/wards/{south}/admit", NURSE, **sent)
    assert again.headers["Location"] != both[0].headers["Location"], "it is another form"


def test_a_form_of_app_py_leaves_out_what_its_user_does_not_see(site: Runtime) -> None:
    patient = add(site, "patients", name="Ann", diagnosis="gout")
    path = f"/patients/{patient}/rename"
    assert "diagnosis" in page(site, path, DOCTOR) and "diagnosis" not in page(site, path)
    renamed = submit(site, path, NURSE, name="Anna", diagnosis="none")
    assert renamed.status == 303 and renamed.headers["Location"] == "/", "no other host"
    shown = texts(page(site, f"/patients/{patient}", DOCTOR))
    assert "Anna" in shown and "gout" in shown


@pytest.mark.parametrize(
    ("topic", "fields", "message"),
    [
        ("nobody", [], "unknown topic 'nobody'"),
        ("wards", ["colour"], "wards has no input 'colour'"),
    ],
)
def test_a_form_of_unknown_fields_is_refused_at_the_start(
    site: Runtime, topic: str, fields: list[str], message: str
) -> None:
    app, own = App(), load_project().code()
    app.verbs = own.app.verbs
    app.form("/own", topic, fields, title="Own")(lambda values, request: "/")
    code = own._replace(app=app)
    with pytest.raises(ConfigError, match=message):
        declared_router(code)


def planned(site: Runtime, count: int) -> list[Any]:
    """The keys of so many planned admissions, in the order of their list."""
    with as_identity(SYSTEM):
        patients, admissions = (site.registry.actions[n] for n in ("patients", "admissions"))
        ward = site.registry.actions["wards"].create({"name": "North"})
        patients.create_many([{"name": f"p{n}"} for n in range(count)])
        rows = [{"patient_id": row.id, "ward_id": ward.id} for row in patients.stream()]
        admissions.create_many(rows)
        return [row.id for row in admissions.stream()]


def start_admitting(site: Runtime, keys: list[Any]) -> int:
    """The job that admits these patients."""
    with as_identity(Identity("nina", frozenset({"nurse"}))):
        return insert_operation(
            site.registry.actions["admissions"], dict.fromkeys(keys, 1), "admit", {}
        )


def before_each(
    site: Runtime, monkeypatch: pytest.MonkeyPatch, call: Callable[[int], object]
) -> None:
    """Call a function with 1, 2, ... before each transition of an admission."""
    kind = type(site.registry.actions["admissions"])
    original, numbers = kind.transition, count(1)

    def transition(self: Any, *args: Any, **options: Any) -> object:
        call(next(numbers))
        return original(self, *args, **options)

    monkeypatch.setattr(kind, "transition", transition)


def states(conn: db.Connection) -> dict[str, int]:
    return dict(conn.execute("select status, count(*) from admissions group by 1"))


def test_a_job_on_rows_locks_few_of_them_and_stops_at_one_that_has_changed(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 250 rows are checked. Then each transaction changes ten of them."""
    keys = planned(site, 250)
    free = "select count(*) from (select from admissions for update skip locked) free"
    seen: list[tuple[int, dict[str, int]]] = []
    with db.connect(site.registry.database.url) as other:

        def look(number: int) -> None:
            if number % 50 == 0:
                ((unlocked,),) = other.execute(free)
                seen.append((unlocked, states(other)))
            if number == 250 + 100:
                change = "update admissions set status = 'discharged' where id = %s"
                other.execute(change, [keys[105]])

        before_each(site, monkeypatch, look)
        job = start_admitting(site, keys)
        drain_jobs(site)
        assert all(unlocked >= 240 for unlocked, _ in seen)
        assert [found for _, found in seen] == [
            *[{"planned": 250}] * 5,
            {"planned": 210, "admitted": 40},
            {"planned": 160, "admitted": 90},
        ]
        shown = page(site, f"/admissions/-/selected/{job}")
        assert "Done for 100 rows, then stopped. Rows with an error: 1." in texts(shown)
        assert shown.count("the state is discharged") == 1 and "Refresh" not in shown
        assert states(other) == {"planned": 149, "admitted": 100, "discharged": 1}


def test_a_job_on_rows_continues_after_its_last_transaction(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = planned(site, 250)
    called: list[int] = []
    conn = site.registry.database.connection()

    def fail(number: int) -> None:
        called.append(number)
        if number in (150, 150 + 250 + 105):
            raise Unavailable("the database is away", code="F405")

    before_each(site, monkeypatch, fail)
    job = start_admitting(site, keys)
    for tries, done in ((1, {"planned": 250}), (2, {"planned": 150, "admitted": 100})):
        drain_jobs(site, failures=True)
        assert states(conn) == done and show_job(conn, job)["attempt"] == tries
        assert "Working on 250 rows" in page(site, f"/admissions/-/selected/{job}")
        conn.execute("update forge_job set state = 'available', scheduled_at = now()")
    drain_jobs(site)
    assert "Done for 250 rows." in page(site, f"/admissions/-/selected/{job}")
    assert len(called) == 150 + 250 + 105 + 150, "no row of the first hundred is done again"


def test_a_job_on_rows_with_a_rule_is_one_transaction(
    site: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule about several rows, such as a capacity, can refuse one because of those before it."""
    keys = planned(site, 250)
    kind = type(site.registry.actions["admissions"])
    admitted = "select count(*) from admissions where status = 'admitted'"

    def rule(self: Any, changes: Any, conn: db.Connection) -> None:
        ((number,),) = conn.execute(admitted)
        if number > 240:
            changes[0].error("status", "full", "the ward is full")

    monkeypatch.setattr(kind, "rule", rule)
    actions = site.registry.actions["admissions"]
    monkeypatch.setitem(vars(actions), "resource", actions.resource._replace(has_rule=True))
    called: list[int] = []
    before_each(site, monkeypatch, called.append)
    job = start_admitting(site, keys)
    drain_jobs(site)
    shown = texts(page(site, f"/admissions/-/selected/{job}"))
    assert "Nothing was changed. Rows with an error: 10." in shown and "the ward is full" in shown
    assert states(actions.connection()) == {"planned": 250} and len(called) == 250


WORKER = """
import os, signal, sys
from itertools import count
from forge_min.ops import load_project

last = int(sys.argv[1])
running = load_project().start(serving=False)
kind = type(running.registry.actions["admissions"])
original, numbers = kind.transition, count(1)

def transition(self, *args, **options):
    if next(numbers) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *args, **options)

kind.transition = transition
running.new_worker({"default": 1}).start()
sys.stdin.read()
running.stop()
"""


@pytest.fixture
def spawn(site: Runtime, clinic: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts a worker process, which is killed before its transition of this number."""
    environ = os.environ | {
        "FORGE_DATABASE_URL": site.registry.database.url,
        "FORGE_JOBS_HEARTBEAT": "200ms",
        "FORGE_JOBS_RESCUE_AFTER": "1s",
        "FORGE_ENV": "test",
        "PYTHONPATH": os.pathsep.join([str(clinic), *sys.path]),
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(last: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, str(last)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environ, cwd=clinic)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.thorough
@pytest.mark.parametrize("last", [120, 351, 355], ids=["check", "between", "inside"])
def test_a_killed_worker_leaves_a_job_on_rows_that_does_each_of_them_once(
    site: Runtime, spawn: Callable[[int], subprocess.Popen[bytes]], last: int
) -> None:
    keys = planned(site, 250)
    job = start_admitting(site, keys)
    assert spawn(last).wait(60) == -signal.SIGKILL
    conn = site.registry.database.connection()
    assert states(conn).get("admitted", 0) == (100 if last > 350 else 0)
    spawn(0)
    wait_for(lambda: show_job(conn, job)["state"] == "completed", 60)
    assert states(conn) == {"admitted": 250} and show_job(conn, job)["attempt"] == 2
    updates = "select count(*), count(distinct resource_id) from forge_audit where operation = %s"
    assert conn.execute(updates, ["update"]).fetchone() == (250, 250)


@pytest.mark.thorough
def test_writers_of_the_rows_of_a_job_do_not_wait_for_the_job(site: Runtime) -> None:
    """A real job on 2,000 rows and four writers of them: none of the writes is refused.

    The job is of the previous release, which names no versions: otherwise each change of a row is
    an error of that row.
    """
    keys = planned(site, 2000)
    job = start_admitting(site, keys)
    conn = site.registry.database.connection()
    conn.execute("update forge_job set args = args - 'versions' where id = %s", [job])

    def write(start: int) -> list[int]:
        client, statuses = Client(site), list[int]()
        for key in keys[start::4]:
            headers = NURSE | {"X-Test-User": f"nurse {start}", "If-Match": "*", "Accept": "*/*"}
            path = f"/api/v1/admissions/{key}"
            statuses.append(client.patch(path, json={"note": "seen"}, headers=headers).status)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, start) for start in range(4)]
        drain_jobs(site, timeout=120)
        for writer in writers:
            assert writer.result() == [200] * 500
    assert states(conn) == {"admitted": 2000}
    assert "Done for 2,000 rows." in page(site, f"/admissions/-/selected/{job}")
