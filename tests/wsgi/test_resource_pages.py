"""The pages of the built example, used by somebody without JavaScript; and by somebody who lies."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from artifact_runner import Site
from person import Page, Person

pytestmark = [pytest.mark.db, pytest.mark.slow]


@pytest.fixture
def person(site: Site) -> Person:
    """Somebody who looks at a served example with one country and three airports."""
    site.serve("--no-jobs")
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    for icao, name in (("EDDF", "Frankfurt"), ("EDDM", "Munich"), ("EDDB", "Berlin")):
        place = {"latitude": "50", "longitude": "8"}
        site.create("airports", {"icao": icao, "name": name, "country_id": country["id"]} | place)
    return Person(site.port)


def ids(form: Any, name: str) -> dict[str, str]:
    """label → value of a choice."""
    return {label: value for value, label in form.choices[name]}


def new_flight(person: Person, number: str = "LH 1", **values: Any) -> Page:
    person.get("/flights/new")
    airports = ids(person.page.form, "origin_id")
    given = {
        "number": number,
        "origin_id": airports["Frankfurt"],
        "destination_id": airports["Berlin"],
        "departs_at": "2030-01-01T10:00",
        "arrives_at": "2030-01-01T11:30",
    }
    return person.send(given | values)


def test_a_row_is_made_shown_changed_and_deleted_with_forms_alone(person: Person) -> None:
    page = new_flight(person)
    assert page.status == 200 and "Created." in page.text and "2030-01-01 10:00" in page.text
    assert "?_done=" in person.at
    person.click("Edit")
    assert dict(person.page.form.fields)["departs_at"] == "2030-01-01T10:00"
    page = person.send({"gate": "A 7", "status": "boarding"})
    assert "Saved." in page.text and "A 7" in page.text
    assert "changed" in page.text  # its history
    person.click("Delete")
    assert "cannot be undone" in person.page.text
    page = person.send()
    assert "Deleted." in page.text and "There are no rows yet." in page.text


def test_what_is_wrong_stands_beside_its_field_and_nothing_written_is_lost(person: Person) -> None:
    page = new_flight(person, number="much too long", departs_at="yesterday", gate="<b>&\"'")
    assert page.status == 422
    body = page.body.decode()
    wrong = dict(re.findall(r'id="error-(\w+)">\s*<li>([^<]+)', body))
    assert wrong["number"] == "must have at most 8 characters"
    assert "2026-11-25T08:30" in wrong["departs_at"]
    assert set(wrong) == {"number", "departs_at", "gate"}
    kept = dict(page.form.fields)
    assert kept["number"] == "much too long" and kept["gate"] == "<b>&\"'"
    assert kept["departs_at"] == "yesterday"
    assert 'href="#field-number"' in body and 'aria-invalid="true"' in body
    assert person.get("/flights").text.count("LH") == 0


def test_a_form_merges_what_others_changed_and_asks_about_what_both_did(
    person: Person, site: Site
) -> None:
    new_flight(person)
    id = person.at.split("/")[-1].partition("?")[0]
    person.click("Edit")
    status, _, _ = site.ask("PATCH", f"/api/v1/flights/{id}", {"gate": "B 1"})
    assert status == 200
    page = person.send({"gate": "A 1"})
    assert page.status == 409 and "Another user has changed the same fields" in page.text
    assert dict(page.form.fields)["gate"] == "A 1" and "The saved value: B 1" in page.text
    site.ask("PATCH", f"/api/v1/flights/{id}", {"number": "LH 2"})
    page = person.send({"gate.choice": "mine"})
    assert "Saved." in page.text and "A 1" in page.text and "LH 2" in page.text


def test_saving_what_nobody_changed_changes_nothing(person: Person, site: Site) -> None:
    new_flight(person)
    id = person.at.split("/")[-1].partition("?")[0]
    exact = {"departs_at": "2030-01-01T10:00:07.123456Z"}
    assert site.ask("PATCH", f"/api/v1/flights/{id}", exact)[0] == 200
    before = json.loads(site.ask("GET", f"/api/v1/flights/{id}")[2])
    person.click("Edit")
    person.send()
    assert json.loads(site.ask("GET", f"/api/v1/flights/{id}")[2]) == before


def test_lists_are_sorted_filtered_searched_and_paged(person: Person, site: Site) -> None:
    page = person.get("/airports")
    assert [name for name in page.links if name in ("Berlin", "Frankfurt", "Munich")] == [
        "Munich", "Berlin", "Frankfurt",
    ] or len(page.links) > 5  # fmt: skip
    person.get("/airports?sort=name")
    order = [n for n in person.page.links if n in ("Berlin", "Frankfurt", "Munich")]
    assert order == ["Berlin", "Frankfurt", "Munich"]
    assert 'aria-sort="ascending"' in person.page.body.decode()
    person.click("Name")
    assert [n for n in person.page.links if n in order] == order[::-1]
    search = next(form for form in person.page.forms if form.method == "get")
    person.send({"q": "berlin"}, form=search)
    assert "Berlin" in person.page.links and "Munich" not in person.page.links
    person.get("/airports?limit=2&sort=name")
    person.click("Next")
    assert "Munich" in person.page.links and "Berlin" not in person.page.links
    person.click("Previous")
    assert "Berlin" in person.page.links
    person.click("Last")
    assert "Munich" in person.page.links and "Next" not in person.page.links
    person.click("First")
    assert "Berlin" in person.page.links and "Previous" not in person.page.links
    assert person.click("Name").status == 200
    bad = person.get("/airports?nonsense=1")
    assert bad.status == 400 and "nonsense is not a filter" in bad.text
    search = next(form for form in person.page.forms if form.method == "get")
    assert person.send({"q": "berlin"}, form=search).status == 200


def test_who_searches_a_list_keeps_conditions_that_its_form_has_no_input_for(
    person: Person,
) -> None:
    person.get("/airports?name[in]=Berlin&name[in]=Munich&created_at[gte]=2000-01-01T00:00:00Z&q=x")
    search = next(form for form in person.page.forms if form.method == "get")
    kept = [(name, value) for name, value in search.fields if name.startswith(("name[in", "cr"))]
    assert kept == [
        ("name[in]", "Berlin"), ("name[in]", "Munich"), ("created_at[gte]", "2000-01-01T00:00:00Z"),
    ]  # fmt: skip
    person.send({"q": "u"}, form=search)
    person.send({"q": ""}, form=next(f for f in person.page.forms if f.method == "get"))
    assert {"Berlin", "Munich"} <= set(person.page.links)
    assert "Frankfurt" not in person.page.links
    # What it has an input for is there once.
    person.get("/airports?name[contains]=erl")
    search = next(form for form in person.page.forms if form.method == "get")
    assert [name for name, _ in search.fields].count("name[contains]") == 1


def test_times_are_filtered_by_the_readers_clock(person: Person) -> None:
    new_flight(person)
    name = "departs_at[gte]"
    person.get("/flights?_filters=1")
    ask = next(form for form in person.page.forms if form.method == "get")
    assert "LH 1" in person.send({name: "2030-01-01T10:00"}, form=ask).text
    assert dict(person.page.forms[0].fields)[name] == "2030-01-01T10:00"
    assert "No matching rows." in person.send({name: "2030-01-01T10:01"}, form=ask).text


@pytest.mark.thorough
def test_of_many_rows_a_relation_is_picked_by_searching(person: Person, site: Site) -> None:
    country = json.loads(site.ask("GET", "/api/v1/countries")[2])["data"][0]["id"]
    for n in range(60):
        body = {"icao": f"X{n:03}", "name": f"Field {n}", "country_id": country}
        site.create("airports", body | {"latitude": "1", "longitude": "1"})
    person.get("/flights/new")
    form = person.page.form
    assert not form.choices.get("origin_id")
    person.send({"number": "LH 2", "origin_id.q": "munich", "_search": "origin_id"})
    form = person.page.form
    assert dict(form.fields)["number"] == "LH 2", "what was written is still there"
    found = ids(form, "origin_id")
    assert set(found) == {"Munich"}
    values = {"origin_id": found["Munich"], "destination_id.q": "Field 59"}
    person.send({**values, "_search": "destination_id"})
    form = person.page.form
    assert ("origin_id", found["Munich"]) in form.fields
    chosen = {"destination_id": ids(form, "destination_id")["Field 59"]}
    times = {"departs_at": "2030-01-01T10:00", "arrives_at": "2030-01-01T11:00"}
    page = person.send(chosen | times)
    assert "Created." in page.text and "Munich" in page.links and "Field 59" in page.links
    # Filtering works the same way.
    person.get("/flights?_filters=1")
    ask = next(form for form in person.page.forms if form.method == "get")
    person.send({"origin_id.q": "munich"}, form=ask)
    ask = next(form for form in person.page.forms if form.method == "get")
    person.send({"origin_id": ids(ask, "origin_id")["Munich"]}, form=ask)
    assert "LH 2" in person.page.links


def test_csv_has_the_same_rows_and_no_formula(person: Person) -> None:
    for begins in ("\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"):
        new_flight(person, number=f"{begins}1", status="departed")
    text = person.get("/flights.csv?status=departed").body.decode("utf-8-sig")
    numbers = [row["number"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert len(numbers) == 5 and all(number.startswith("'") for number in numbers)
    new_flight(person, number="=1+1")
    new_flight(person, number="LH 7", status="delayed")
    page = person.get("/flights.csv?sort=number&status[ne]=departed")
    assert page.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(page.body.decode("utf-8-sig"))))
    assert [row["number"] for row in rows] == ["'=1+1", "LH 7"]
    assert rows[0]["origin"] == "Frankfurt" and rows[0]["departs_at"] == "2030-01-01T10:00:00Z"
    few = person.get("/flights.csv?status=delayed").body.decode("utf-8-sig")
    assert few.count("\n") == 2
    assert person.get("/flights.csv?status=nonsense&x=1").status == 400


@pytest.mark.thorough
def test_a_form_without_its_token_or_of_another_site_is_refused(person: Person) -> None:
    person.get("/flights/new")
    form, cookies = person.page.form, dict(person.cookies)
    assert cookies["forge_csrf"]

    def post(**headers: str) -> Page:
        body = "&".join(f"{n}={v}" for n, v in pairs if v).replace(" ", "+").encode()
        return person.ask("POST", "/flights/new", body, follow=False, **headers)

    token = dict(form.fields)["_csrf_token"]
    pairs = [("number", "X")]
    assert post().status == 403
    pairs = [("number", "X"), ("_csrf_token", token)]
    assert post().status == 422
    assert post(Origin="http://evil.example").status == 403
    assert post(Sec_Fetch_Site="same-site").status == 403
    assert post(Origin="null").status == 403
    pairs = [("number", "X"), ("_csrf_token", token[:-4] + "AAAA")]
    assert post().status == 403
    pairs = [("number", "X"), ("_csrf_token", token)]
    person.cookies = {"forge_csrf": "another"}
    assert post().status == 403
    assert "F527" in person.page.text


@pytest.mark.thorough
def test_problems_are_pages_for_browsers_and_json_for_programs(person: Person, site: Site) -> None:
    for path in ("/flights/nope", "/nowhere"):
        page = person.get(path)
        assert page.status == 404 and "text/html" in page.headers["Content-Type"]
        assert "F601" in page.text and page.links["Flights"] == "/flights"
        status, headers, body = site.ask("GET", path, Accept="*/*")
        assert status == 404 and headers["content-type"] == "application/problem+json"
    page = person.get("/api/v1/flights/nope")
    assert page.status == 404 and "json" in page.headers["Content-Type"]
    assert person.ask("POST", "/flights", b"", follow=False).status == 405
    assert "Allow" in person.page.headers


def every_page(person: Person) -> dict[str, Page]:
    """One of each kind, with and without what is wrong."""
    new_flight(person)
    row = person.at.partition("?")[0]
    pages = {
        path: person.get(path)
        for path in (
            "/flights", "/airports?q=berlin", "/airports?nonsense=1", "/flights/new", row,
            row + "/edit", row + "/delete", "/nowhere", "/countries", "/api/docs", "/",
        )
    }  # fmt: skip
    person.get("/flights/new")
    return pages | {"refused": person.send({"number": "much too long"})}


def test_every_page_is_valid_html_and_asks_nothing_of_anybody_else(person: Person) -> None:
    for path, page in every_page(person).items():
        assert "default-src 'self'" in page.headers["Content-Security-Policy"], path
        body = page.body.decode()
        for url in re.findall(r'(?:src|href|action)="([^"]*)"', body):
            assert not url.startswith(("http:", "https:", "//")), (path, url)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", body), path
        ids = re.findall(r'\sid="([^"]*)"', body)
        assert len(ids) == len(set(ids)), path


@pytest.fixture
def tidy() -> Callable[[bytes], list[str]]:
    """What HTML Tidy says of a page."""
    program = shutil.which("tidy")
    if program is None:
        pytest.skip("no tidy (Debian: tidy)")

    def check(page: bytes) -> list[str]:
        command = [program, "-q", "-e", "--drop-empty-elements", "no", "--show-info", "no"]
        done = subprocess.run([*command, "-utf8"], input=page, capture_output=True)
        newer = (
            '"aria-current"',
            '"aria-keyshortcuts"',
            '"popover"',
            '"popovertarget"',
        )  # ARIA 1.1, WHATWG HTML
        return [s for s in done.stderr.decode().splitlines() if not any(n in s for n in newer)]

    return check


@pytest.mark.thorough
def test_an_independent_checker_finds_nothing_in_any_page(
    person: Person, tidy: Callable[[bytes], list[str]]
) -> None:
    assert tidy(b"<!doctype html><title>x</title><p><div>no</p>"), "the checker checks"
    found = {path: tidy(page.body) for path, page in every_page(person).items()}
    assert {path: said for path, said in found.items() if said} == {}
