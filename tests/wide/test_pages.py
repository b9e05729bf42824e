"""The pages of every kind of field and relation, for people who may do some of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from artifact_runner import Site
from forge_min.db import EmbeddedServer
from person import Page, Person
from wide_project import served

pytestmark = [pytest.mark.db, pytest.mark.slow]

TENANT = "0190a1b2-0000-7000-8000-0000000000aa"
MANY = "0190a1b2-0000-7000-8000-0000000000cc"
OTHER = "0190a1b2-0000-7000-8000-0000000000bb"


@pytest.fixture(scope="module")
def site(
    wide_artifact: Path, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The wide project."""
    with served(wide_artifact, server, tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture
def boss(site: Site) -> Person:
    """Who may do all, in one tenant."""
    return somebody(site, "manager,member,admin,editor,owner")


def somebody(site: Site, roles: str, tenant: str = TENANT) -> Person:
    return Person(site.port, X_Test_User="anna", X_Test_Roles=roles, X_Test_Tenant=tenant)


def errors(page: Page) -> dict[str, str]:
    """What stands beside the fields."""
    return dict(re.findall(r'id="error-(\w+)">\s*<li>([^<]+)', page.body.decode()))


def names(page: Page) -> set[str]:
    """The fields of the page's form."""
    return {name for name, _ in page.form.fields} | set(page.form.choices)


def new_account(person: Person, slug: str, **values: Any) -> str:
    person.get("/accounts/new")
    page = person.send({"slug": slug, "name": f"Account {slug}", **values})
    assert "Created." in page.text, errors(page)
    return person.at.partition("?")[0]


def test_every_type_of_field_goes_through_a_form_and_back(boss: Person) -> None:
    boss.get("/documents/new")
    form = boss.page.form
    before = dict(form.fields)
    assert before["datetime"] == "2026-01-31T12:00" and before["decimal"] == "1.5"
    assert ("bool", "true") in form.fields, "a default of true is a check mark"
    values = {
        "string": 'a "line" <b>', "text": "two\nlines", "int": "7", "bigint": "9007199254740991",
        "decimal": "12.250", "bool": None, "datetime": "2026-02-03T04:05:06", "date": "2026-02-03",
        "enum": "it's out", "json": '{"a": [1, 2.50, null]}', "slug": "a-slug",
        "email": "a@example.com", "url": "https://example.com/x?y=z&q", "uuid": str(uuid4()),
        "secret": "", "settings": "{}",
    }  # fmt: skip
    page = boss.send(values)
    assert "Created." in page.text, errors(page)
    assert 'a "line" <b>' in page.text and "it's out" in page.text
    assert page.links["https://example.com/x?y=z&q"] == "https://example.com/x?y=z&q"
    assert page.links["a@example.com"] == "mailto:a@example.com"
    boss.click("Edit")
    kept = dict(boss.page.form.fields)
    given = {k: v for k, v in values.items() if v not in (None, "") and k not in ("json", "email")}
    assert {name: kept[name] for name in given} == given
    assert "bool" not in kept and "email" not in kept, "email is immutable"
    page = boss.send({"int": "", "text": "", "json": "not json", "decimal": "1.23456"})
    assert page.status == 422 and set(errors(page)) == {"json", "decimal"}
    page = boss.send({"json": "[]", "decimal": "1.2"})
    assert "Saved." in page.text
    boss.click("Edit")
    kept = dict(boss.page.form.fields)
    assert (kept["int"], kept["text"], kept["json"]) == ("", "", "[]")


def test_times_durations_and_lists_go_through_a_form_and_back(boss: Person, site: Site) -> None:
    page = boss.get("/courses/new")
    shown = dict(page.form.fields)
    assert (shown["opens_at"], shown["length"], shown["pause"]) == ("08:30", "36:00:00", "0:30:00")
    body = page.body.decode()
    (opens,) = re.findall(r'<input[^>]* name="opens_at"[^>]*>', body)
    assert all(f'{n}="{v}"' in opens for n, v in (("type", "time"), ("min", "06:00:00"))), opens
    years = re.search(r'name="starts_on"[^>]* min="1900-01-01" max="(\d{4})-', body)
    assert years and int(years[1]) == datetime.now(UTC).year + 2
    assert body.count('type="checkbox" name="days"') == 3 and "One value per line." in page.text
    values = {
        "time": "23:15", "opens_at": "07:00:30.25", "length": "1:02:03.5", "pause": "P1DT1M",
        "float": "1e-7", "weight": "0.1", "tags": "a b\r\n\r\n <i>ü</i> ", "rooms": "7\n-8",
        "days": ["it's", "sun"], "starts_on": "2026-02-03",
    }  # fmt: skip
    page = boss.send(values)
    assert "Created." in page.text, errors(page)
    for cell in ("23:15", "24:01:00", "1:02:03.5", "a b, <i>ü</i>", "7, -8", "it's, sun"):
        assert cell in page.text, cell
    path = boss.at.partition("?")[0]
    row = json.loads(site.ask("GET", f"/api/v1{path}", **boss._headers)[2])
    stored = {"tags": ["a b", "<i>ü</i>"], "rooms": [7, -8], "days": ["it's", "sun"]}
    stored |= {"time": "23:15:00", "length": "PT1H2M3.5S", "pause": "P1DT1M0S", "float": 1e-7}
    assert {name: row[name] for name in stored} == stored
    boss.click("Edit")
    kept = [(name, value) for name, value in boss.page.form.fields if name == "days"]
    assert kept == [("days", "it's"), ("days", "sun")]
    assert dict(boss.page.form.fields)["tags"] == "a b\n<i>ü</i>"
    boss.send()
    assert json.loads(site.ask("GET", f"/api/v1{path}", **boss._headers)[2]) == row
    boss.get(f"{path}/edit")
    wrong = {
        "time": "8",
        "length": "1:60",
        "float": "x",
        "rooms": "1\nb",
        "starts_on": "1899-01-01",
    }
    page = boss.send(wrong | {"weight": "-1", "days": ["tue"]})
    assert page.status == 422 and errors(page).keys() == wrong.keys() | {"weight", "days"}
    assert errors(page)["starts_on"] == "must be at least 1900-01-01"
    boss.get(f"{path}/edit")
    boss.send({"days": None, "rooms": "", "tags": ""})
    row = json.loads(site.ask("GET", f"/api/v1{path}", **boss._headers)[2])
    assert (row["days"], row["rooms"], row["tags"]) == ([], [], [])


def test_a_list_that_no_input_holds_stays_as_it_is(boss: Person, site: Site) -> None:
    for tags in (["", " a", "b\nc", "\r"], [""], [" "], []):
        body = {
            "time": "09:00:00.000001",
            "float": 0.1,
            "tags": tags,
            "days": ["sun", "mon", "sun"],
        }
        row = json.loads(site.ask("POST", "/api/v1/courses", body, **boss._headers)[2])
        boss.get(f"/courses/{row['id']}/edit")
        boss.send({"weight": "1"})
        after = json.loads(site.ask("GET", f"/api/v1/courses/{row['id']}", **boss._headers)[2])
        assert after == row | {"weight": 1.0, "version": 2}


def test_lists_are_filtered_and_downloaded(boss: Person, site: Site) -> None:
    body = {
        "time": "09:00:00",
        "float": 2.5,
        "length": "PT7H",
        "tags": ["=1", "x"],
        "days": ["mon"],
    }
    assert site.ask("POST", "/api/v1/courses", body, **boss._headers)[0] == 201
    page = boss.get("/courses?_filters=1")
    form = page.forms[0]
    assert [value for value, _ in form.choices["days[contains]"]] == ["", "mon", "it's", "sun"]
    found = boss.send(
        {"days[contains]": "mon", "tags[contains]": "x", "length[gte]": "7:00:00"}, form=form
    )
    assert "=1, x" in found.text
    none = boss.send({"time[gte]": "09:01", "time[lte]": "09:02"}, form=form)
    assert "No matching rows." in none.text
    boss.get("/courses.csv?days[contains]=mon")
    assert '"[""=1"", ""x""]"' in boss.page.body.decode()


def test_what_no_input_holds_as_it_is_stays_as_it_is(boss: Person, site: Site) -> None:
    body = {
        "string": " two\nlines ", "text": "a\r\nb\r\n", "decimal": "1.500", "settings": {"a": 1},
        "json": {"b": [1, None, "ü"]}, "datetime": "2026-01-31T12:00:00.000001Z", "bigint": None,
    }  # fmt: skip
    headers = boss._headers
    row = json.loads(site.ask("POST", "/api/v1/documents", body, **headers)[2])
    boss.get(f"/documents/{row['id']}/edit")
    boss.send()
    assert "Saved." in boss.page.text
    after = json.loads(site.ask("GET", f"/api/v1/documents/{row['id']}", **headers)[2])
    assert after == row, "not even a new version"
    boss.get("/documents.csv?sort=-id&limit=1")
    assert '{""b"": [1, null, ""ü""]}' in boss.page.body.decode()


def test_a_deleted_target_stays_what_it_was_when_another_field_is_changed(
    boss: Person, site: Site
) -> None:
    headers = boss._headers
    first, second = (new_account(boss, slug).rpartition("/")[2] for slug in ("aaa", "zzz"))
    body = {"number": "D1", "kind": "sale", "lane": "fast", "total": "1", "account_id": second}
    status, _, answer = site.ask("POST", "/api/v1/orders", body, **headers)
    assert status == 201, answer
    order = json.loads(answer)
    assert site.ask("DELETE", f"/api/v1/accounts/{second}", **headers)[0] == 204
    boss.get(f"/orders/{order['id']}/edit")
    assert ("account_id", second) in boss.page.form.fields and first != second
    assert "Saved." in boss.send({"note": "changed"}).text
    now = json.loads(site.ask("GET", f"/api/v1/orders/{order['id']}", **headers)[2])
    assert now["account_id"] == second and now["note"] == "changed"


def test_a_row_is_deleted_by_the_version_that_was_looked_at(boss: Person) -> None:
    account = new_account(boss, "versioned")
    for version in ("", "0", "99999999999999999999999", "-1", "x", "\u0663"):
        boss.get(account + "/delete")
        page = boss.send({"version": version})
        assert page.status == 409 and "read it again" in page.text, version
    assert "Deleted." in boss.send().text


def test_of_more_targets_than_a_form_shows_none_is_lost(site: Site) -> None:
    boss = somebody(site, "manager,member,admin,editor,owner", MANY)  # others choose from few tags
    headers = boss._headers
    made = [
        json.loads(site.ask("POST", "/api/v1/tags", {"name": f"many {n}"}, **headers)[2])["id"]
        for n in range(101)
    ]
    body = {"slug": "tagged", "name": "Tagged", "tag_ids": made}
    row = json.loads(site.ask("POST", "/api/v1/accounts", body, **headers)[2])
    boss.get(f"/accounts/{row['id']}/edit")
    assert "tag_ids" not in names(boss.page)
    assert "Saved." in boss.send({"name": "Tagged anew"}).text
    status, _, answer = site.ask("GET", f"/api/v1/accounts/{row['id']}/audit", **headers)
    assert status == 200 and "tag_ids" not in json.loads(answer)["data"][0]["changes"]


def test_what_a_person_may_not_do_is_neither_offered_nor_done(site: Site, boss: Person) -> None:
    account = new_account(boss, "open", notes="for managers")
    member, nobody = somebody(site, "member"), Person(site.port)
    page = member.get(account)
    assert "for managers" not in page.text and "Edit" in page.links
    assert "Delete" not in page.links
    assert "New" not in member.get("/accounts").links
    member.get(account + "/edit")
    assert {"notes", "slug"}.isdisjoint(names(member.page))
    assert member.send({"notes": "x", "name": "New name"}).status == 200
    assert "for managers" in boss.get(account).text, "a field that was not offered is not read"
    assert "New name" in boss.page.text
    for path in ("/accounts/new", account + "/delete"):
        assert member.get(path).status == 403
        assert (
            nobody.get(path, follow=False).headers["Location"].startswith("/account/sign-in?next=")
        )
    token = dict(boss.get(account + "/delete").form.fields)["_csrf_token"]
    boss.ask("POST", account + "/delete", f"_csrf_token={token}x".encode(), follow=False)
    assert boss.page.status == 403
    assert "accounts" not in str(nobody.get("/accounts").links)


def test_another_tenants_rows_are_on_no_page(site: Site, boss: Person) -> None:
    account = new_account(boss, "mine")
    stranger = somebody(site, "manager,member,admin", OTHER)
    assert stranger.get(account).status == 404
    assert "Account mine" not in stranger.get("/accounts").text
    assert "mine" not in stranger.get("/accounts.csv").body.decode()
    stranger.get("/orders/new")
    assert "Account mine" not in str(stranger.page.form.choices)
    assert stranger.get("/accounts/new/choices?field=tag_ids&q=x").status == 200
    # Its id is known, and of no use.
    stranger.get("/orders/new")
    key = account.rpartition("/")[2]
    page = stranger.send({"number": "S1", "account_id": key, "kind": "sale", "lane": "fast",
                          "total": "1"})  # fmt: skip
    assert page.status == 422 and set(errors(page)) == {"account_id"}


def test_a_deleted_row_comes_back_with_one_button(boss: Person) -> None:
    account = new_account(boss, "gone")
    boss.get(account + "/delete")
    assert "You can restore it" in boss.page.text
    page = boss.send()
    assert "Deleted." in page.text and boss.at.startswith("/accounts?")
    after = boss.at
    assert boss.get(account).status == 404
    boss.get(after)
    undo = next(form for form in boss.page.forms if str(form.action).endswith("/restore"))
    assert "Restored." in boss.send(form=undo).text
    assert boss.get(account).status == 200


def test_a_link_of_another_site_shows_no_notice_and_no_button(boss: Person, site: Site) -> None:
    account = new_account(boss, "kept")
    boss.get(account + "/delete")
    assert "Deleted." in boss.send().text
    sealed = boss.at.partition("=")[2]
    for link in (
        "?_done=deleted&_undo=" + account.rpartition("/")[2],
        f"?_done={sealed[:-8]}AAAAAAAA",
        f"?_done={sealed[4:]}",
        f"?_done={sealed}%C3%A9",
    ):
        page = boss.get("/accounts" + link)
        assert page.status == 200 and "Deleted." not in page.text
        assert not [form for form in page.forms if str(form.action).endswith("/restore")]
    roles = {"X_Test_Roles": "manager,member,admin", "X_Test_Tenant": TENANT}
    other = Person(site.port, X_Test_User="otto", **roles)
    page = other.get("/accounts?_done=" + sealed)
    assert page.status == 200 and "Deleted." not in page.text, "it was made for another user"
    assert "Deleted." in boss.get("/accounts?_done=" + sealed).text


def test_relations_to_one_and_to_many_are_chosen_shown_and_linked(boss: Person) -> None:
    account = new_account(boss, "buyer")
    for tag in ("red", "blue"):
        boss.get("/tags/new")
        assert "Created." in boss.send({"name": tag}).text
    boss.get("/orders/new")
    form = boss.page.form
    labels = {label: value for value, label in form.choices["label_ids"]}
    accounts = {label: value for value, label in form.choices["account_id"]}
    values = {
        "number": "N1", "kind": "sale", "lane": "slow", "total": "9.90",
        "account_id": accounts["Account buyer"], "label_ids": list(labels.values()),
    }  # fmt: skip
    page = boss.send(values)
    assert "Created." in page.text, errors(page)
    assert page.links["Account buyer"] == account
    assert {"red", "blue"} <= set(page.links)
    order = boss.at.partition("?")[0]
    boss.click("Edit")
    assert "number" not in names(boss.page), "an immutable field is not asked for"
    assert sorted(v for n, v in boss.page.form.fields if n == "label_ids") == sorted(
        labels.values()
    )
    boss.send({"label_ids": [labels["red"]]})
    assert "red" in boss.page.links and "blue" not in boss.page.links
    assert boss.get(account).links["Orders"].startswith("/orders?account_id=")
    boss.click("Orders")
    assert boss.page.links["N1"] == order
    # A list with a mandatory version is deleted by the version that was looked at.
    boss.get(order + "/delete")
    other = Person(boss._port, **boss._headers)
    other.get(order + "/edit")
    assert "Saved." in other.send({"note": "overtaken"}).text
    page = boss.send()
    assert page.status == 409 and boss.get(order).status == 200


def test_natural_keys_of_any_spelling_have_pages(boss: Person, site: Site) -> None:
    boss.get("/classes/new")
    page = boss.send({"code": "NEW", "class": "First/“class”", "def": "true"})
    assert "Created." in page.text, errors(page)
    assert boss.at.startswith("/classes/NEW?_done=")
    boss.click("Edit")
    assert "code" not in names(boss.page)
    assert "Saved." in boss.send({"import": "3"}).text
    boss.get("/stations/new")
    page = boss.send({"number": "7", "name": "Seven"})
    assert "Created." in page.text and boss.at.startswith("/stations/7?"), errors(page)
    boss.get("/stations/new")
    page = boss.send({"number": "7", "name": "Again"})
    assert page.status == 422 and set(errors(page)) == {"number"}
    boss.get("/lines/new")
    boss.send({"slug": "u-77", "year": "1977"})
    for number in ("77", "78"):
        boss.get("/stations/new")
        page = boss.send({"number": number, "name": "Zoo", "main_line_id": "u-77"})
    message = "Two stations of a line have different names."
    assert page.status == 422 and errors(page) == {"main_line_id": message, "name": message}
    assert "First/“class”" in boss.get("/classes?sort=class").text
    assert boss.get("/classes?def=true&import[gte]=2&class[contains]=first").links["NEW"]


def test_the_key_new_has_pages_too(boss: Person) -> None:
    boss.get("/lines/new")
    page = boss.send({"slug": "new", "year": "1900"})
    assert "Created." in page.text and "1900" in page.text, errors(page)
    boss.get("/lines")
    boss.click("new")
    boss.click("Edit")
    page = boss.send({"year": "1901"})
    assert "Saved." in page.text and "1901" in page.text, errors(page)
    boss.click("Delete")
    assert "Deleted." in boss.send().text


def test_hostile_values_stay_text_on_every_page(boss: Person) -> None:
    evil = "\"'><script>alert(1)</script>"
    account = new_account(boss, "evil", name=evil, notes=evil)
    for path in (account, account + "/edit", account + "/delete", "/accounts", "/accounts.csv"):
        page = boss.get(path)
        assert page.status == 200
        if "html" in page.headers["Content-Type"]:
            assert "<script>alert" not in page.body.decode(), path
            assert evil in page.text or path.endswith("edit"), path
    for query in ("?q=%22%3E%3Cscript%3Ealert(1)", "?sort=%3Cscript%3E", "?_done=%3Cscript%3E",
                  "?_undo=%22%3E%3Cscript%3E", "?name[contains]=%00", "?cursor=x", "?q=%00"):  # fmt: skip
        page = boss.get("/accounts" + query)
        assert page.status in (200, 400), query
        assert "<script>" not in page.body.decode(), query
    for value in ("9999-12-31T23:59:59-05:00", "0001-01-01T00:00+05:00", "x", "9999-12-31T23:59"):
        assert boss.get(f"/documents?datetime[gte]={value}").status in (200, 400), value
    boss.get("/documents/new")
    times = {"string": "x y", "settings": "{}", "datetime": "0001-01-01T00:00+05:00"}
    assert boss.send(times).status == 422
    bad = boss.ask("POST", "/accounts/new", b"x=1", follow=False, Origin="http://[")
    assert bad.status == 403
    for path in ("/accounts/new?name=%3Cscript%3E", "/accounts/new/choices?field=x",
                 "/accounts/new/choices?field=tag_ids&q=%00", "/accounts/%00/edit"):  # fmt: skip
        assert boss.get(path).status in (200, 400, 404)
    big = boss.get("/accounts/new").form
    assert boss.send({"name": "x" * 2_000_000}, form=big).status == 413
