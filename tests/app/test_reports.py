"""Aggregates and reports as JSON, CSV and pages, each for its readers only."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import Identity
from forge_min.html.report import chart
from forge_min.testing import Client, ClientResponse, TestDatabase, running_app
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.db

API = "/api/v1/orders/-"
OURS, THEIRS = uuid4(), uuid4()
BOSS = {"X-Test-User": "ann", "X-Test-Roles": "manager,member", "X-Test-Tenant": str(OURS)}
GUEST = BOSS | {"X-Test-Roles": "guest"}
OTHER = BOSS | {"X-Test-Tenant": str(THEIRS)}
NOBODY: dict[str, str] = {}
HOMELESS = {"X-Test-User": "ann", "X-Test-Roles": "manager,member"}
WAYS = ("/-/reports/{}", "/-/reports/{}.csv", API + "/reports/{}")
FORMULA = '=HYPERLINK("x")'


@pytest.fixture
def site(wide_database: TestDatabase) -> Iterator[Runtime]:
    """The wide project with two accounts and five orders of ours, and one order of others."""
    with running_app(wide_database, FORGE_API_RATE_LIMIT='{default = "1000000/1m"}') as running:
        client = Client(running)
        ours = [account(client, BOSS, name) for name in (FORMULA, "Fjord <b>")]
        theirs = account(client, OTHER, "Secret & Sons")
        for number, total, status, placed, owner, headers in (
            ("1", "12.50", "open", "2025-12-31T23:30:00Z", ours[0], BOSS),
            ("2", "0.10", "paid", "2026-01-15T12:00:00Z", ours[0], BOSS),
            ("3", "3", "sent", None, ours[1], BOSS),
            ("4", "4", "open", None, ours[1], BOSS),
            ("5", "900", "open", None, ours[1], BOSS),
            ("6", "7777", "open", "2026-01-15T12:00:00Z", theirs, OTHER),
        ):
            body = {"number": number, "total": total, "status": status, "placed_at": placed}
            body |= {"kind": "sale", "lane": "fast", "account_id": owner, "due": "2026-02-03"}
            made = client.post("/api/v1/orders", json=body, headers=headers)
            assert made.status == 201, made.text
            if number == "5":
                gone = f"/api/v1/orders/{made.json['id']}"
                tag = {"If-Match": str(made.headers["ETag"])}
                assert client.delete(gone, headers=BOSS | tag).status == 204
        yield running


def account(client: Client, headers: dict[str, str], name: str) -> str:
    body = {"slug": f"s{uuid4()}", "name": name}
    return str(client.post("/api/v1/accounts", json=body, headers=headers).json["id"])


def get(site: Runtime, path: str, headers: dict[str, str], **query: str) -> ClientResponse:
    url = f"{path}?{urlencode(query)}" if query else path
    accept = "application/json" if path.startswith("/api") else "text/html"
    return Client(site).get(url, headers={"Accept": accept, **headers})


def table(page: ClientResponse) -> list[list[str]]:
    """The cells of a CSV file."""
    assert page.status == 200, page.text
    assert page.headers["Content-Type"].startswith("text/csv")
    return [*csv.reader(io.StringIO(page.body.decode("utf-8-sig")))]


def test_an_aggregate_has_the_spelling_of_rows_and_those_of_the_tenant_only(site: Runtime) -> None:
    query = {"group": "status,month(placed_at)", "measure": "count,sum(total),min(placed_at)"}
    asked = query | {"zone": "Europe/Berlin", "sort": "-sum(total)", "total[lt]": "100"}
    answer = get(site, API + "/aggregate", BOSS, **asked)
    assert answer.status == 200, answer.text
    month, least = "month(placed_at)", "min(placed_at)"
    rows = [
        ("open", "2026-01-01", "12.50", "2025-12-31T23:30:00Z"),
        ("open", None, "4.00", None),
        ("sent", None, "3.00", None),
        ("paid", "2026-01-01", "0.10", "2026-01-15T12:00:00Z"),
    ]
    assert answer.json["items"] == [
        {"status": status, month: begin, "count": 1, "sum(total)": total, least: first}
        for status, begin, total, first in rows
    ]
    assert get(site, API + "/aggregate", OTHER).json == {"items": [{"count": 1}]}
    year = get(site, API + "/aggregate", BOSS, group="year(due)", measure="avg(total)").json
    assert year == {"items": [{"year(due)": "2026-01-01", "avg(total)": "4.9000000000000000"}]}
    file = table(get(site, "/orders/-/aggregate.csv", BOSS, group="account_id", measure="count"))
    assert file[0] == ["account_id", "account", "count"]
    assert sorted(row[1:] for row in file[1:]) == [["'" + FORMULA, "2"], ["Fjord <b>", "2"]]


def test_every_kind_of_field_is_grouped_and_computed_in_all_ways(site: Runtime) -> None:
    client = Client(site)
    for number, price in ((1.7e308, "1" * 38), (1.7e308, "3.00")):
        body = {"time": "08:00:00", "length": "PT90M", "tags": ["a"], "float": number}
        made = client.post("/api/v1/courses", json=body | {"price": price}, headers=BOSS)
        assert made.status == 201, made.text
    (group,) = get(site, "/api/v1/courses/-/reports/lengths", BOSS).json["items"]
    assert (group["length"], group["time"]) == ("PT1H30M0S", "08:00:00")
    assert group["sum(float)"] == str(2 * int("17" + "0" * 307)) and group["count"] == 2
    assert (group["max(length)"], group["min(time)"]) == ("PT1H30M0S", "08:00:00")
    assert Decimal(group["avg(price)"]) == Decimal((int("1" * 38) + 3) // 2)
    page = get(site, "/-/reports/lengths", BOSS)
    assert page.status == 200 and "1:30:00" in page.text
    assert len(table(get(site, "/-/reports/lengths.csv", BOSS))) == 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"group": "margin"}, "not possible here: margin; allowed: status"),
        ({"measure": "sum(margin)"}, "not possible here"),
        ({"group": "ticket_id"}, "not possible here"),
        ({"margin[gt]": "1"}, "not a filter"),
        ({"limit": "1"}, "limit is not possible"),
        ({"zone": "Europe/Nowhere"}, "time zone"),
        ({"total": "x"}, "total must be a number"),
        ({"total[gt]": "1"}, ""),
    ],
)
def test_a_wrong_aggregate_is_400(site: Runtime, query: dict[str, str], words: str) -> None:
    answers = [
        get(site, path, BOSS, **query) for path in (API + "/aggregate", "/orders/-/aggregate.csv")
    ]
    assert [answer.status for answer in answers] == [400 if words else 200] * 2
    assert words in answers[0].text and "margin," not in answers[0].text


def test_an_aggregate_has_the_conditions_of_a_list_at_most(site: Runtime) -> None:
    many = "&".join(f"total[gt]={n}" for n in range(21))
    answer = Client(site).get(f"{API}/aggregate?{many}", headers=BOSS)
    assert answer.status == 400 and answer.json["code"] == "F643"


def test_a_report_is_served_to_its_readers_only_by_each_way(site: Runtime) -> None:
    for way in WAYS:
        for name, guest in (("per_status", 403), ("per_account", 200)):
            path = way.format(name)
            assert get(site, path, BOSS).status == 200, path
            assert get(site, path, GUEST).status == guest, path
            assert get(site, path, HOMELESS).status == 403, path
            answer = get(site, path, NOBODY)
            assert answer.status == (401 if way.startswith("/api") else 303), path
            for refused in (answer, get(site, path, HOMELESS)):
                assert "12.5" not in refused.text and "Fjord" not in refused.text
        assert get(site, way.format("unknown"), BOSS).status == 404
    assert get(site, "/-/reports/per_status.xml", BOSS).status == 404
    for path in (API + "/aggregate", "/orders/-/aggregate.csv"):
        assert get(site, path, HOMELESS).status == 403
        assert get(site, path, NOBODY).status in (401, 303)
    assert get(site, API + "/reports/per_account", BOSS, status="open").status == 400


def test_a_report_shows_the_rows_of_its_filters_and_its_readers_tenant(site: Runtime) -> None:
    groups = {("2026-01-01", "12.50", 1), (None, "4.00", 1)}, {("2026-01-01", "7777.00", 1)}
    for headers, expected in zip((BOSS, OTHER), groups, strict=True):
        answer = get(site, API + "/reports/per_account", headers, zone="Europe/Berlin").json
        assert [*answer["items"][0]] == ["account_id", "month(placed_at)", "sum(total)", "count"]
        assert {tuple(item.values())[1:] for item in answer["items"]} == expected
        page = get(site, "/-/reports/per_account", headers)
        assert ("Secret &amp; Sons" in page.text) is (headers is OTHER)
        assert ("Fjord &lt;b&gt;" in page.text) is (headers is BOSS)
        assert "<b>" not in page.text and " style=" not in page.text
    file = table(get(site, "/-/reports/per_account.csv", BOSS, zone="Europe/Berlin"))
    assert file[0] == ["account_id", "account", *[*answer["items"][0]][1:]]
    assert sorted(row[1:] for row in file[1:]) == [
        ["'" + FORMULA, "2026-01-01", "12.50", "1"],
        ["Fjord <b>", "", "4.00", "1"],
    ]


def test_labels_of_rows_that_the_reader_may_not_see_are_not_shown(site: Runtime) -> None:
    seen = get(site, "/-/reports/per_account", BOSS).text
    page = get(site, "/-/reports/per_account", GUEST)
    file = get(site, "/-/reports/per_account.csv", GUEST)
    keys = re.findall(r'<th scope="row"><span>([0-9a-f-]{36})', page.text)
    assert "Fjord" in seen and len(keys) == 2
    for answer in (page, file):
        assert "Fjord" not in answer.text and "HYPERLINK" not in answer.text


def test_reports_are_linked_for_their_readers(site: Runtime) -> None:
    links = 'href="/-/reports/{}"'.format
    for headers, names in (
        (BOSS, {"per_account", "per_status", "over_time"}),
        (GUEST, {"per_account", "over_time"}),
        (NOBODY, set()),
    ):
        start = get(site, "/", headers).text
        assert ('href="/-/reports"' in start) is bool(names)
        shown = get(site, "/-/reports", headers).text
        every = ("per_account", "per_status", "over_time")
        assert {name for name in every if links(name) in shown} == names


@pytest.mark.parametrize("shape", ["per_account", "per_status", "over_time"])
def test_a_chart_has_a_name_a_description_and_a_shape_for_each_value(
    site: Runtime, shape: str
) -> None:
    page = get(site, f"/-/reports/{shape}", BOSS).text
    items = get(site, f"{API}/reports/{shape}", BOSS).json["items"]
    if shape == "over_time":  # no order has a value for select
        assert "<svg viewBox" not in page and "<td" in page
        return
    assert (
        f'<title id="chart-{shape}-title">' in page and f'<desc id="chart-{shape}-about">' in page
    )
    assert len(re.findall(r"<rect[^>]*><title>", page)) == len(items)


def test_a_report_without_rows_says_so(site: Runtime) -> None:
    empty = BOSS | {"X-Test-Tenant": str(UUID(int=7))}
    page = get(site, "/-/reports/per_account", empty)
    assert page.status == 200 and "No matching rows." in page.text
    assert get(site, API + "/reports/per_account", empty).json == {"items": []}


def test_the_manual_and_openapi_describe_reports(site: Runtime) -> None:
    manual = get(site, "/-/help", BOSS).text
    assert "Per status" in manual and f"{API}/reports/{{name}}" in manual
    paths = get(site, "/api/openapi.json", BOSS).json["paths"]
    report = paths[f"{API}/reports/{{name}}"]["get"]
    assert report["parameters"][0]["schema"]["enum"] == ["per_account", "per_status", "over_time"]
    assert {"401", "403", "404"} < report["responses"].keys()
    aggregate = paths[f"{API}/aggregate"]["get"]
    names = [parameter["name"] for parameter in aggregate["parameters"]]
    assert names[:5] == ["group", "measure", "sort", "zone", "q"] and "status" in names
    assert "week(placed_at)" in aggregate["parameters"][0]["description"]
    assert "margin" not in aggregate["parameters"][0]["description"]
    assert "/api/v1/accounts/-/aggregate" not in paths


@pytest.mark.thorough
def test_an_aggregate_over_the_time_of_a_read_is_503_with_advice(
    wide_database: TestDatabase,
) -> None:
    with running_app(wide_database, FORGE_DATABASE_READ_TIMEOUT="100ms") as site:
        with db.connect(wide_database.owner_url) as owner, db.transaction(owner):
            owner.execute("lock table orders in access exclusive mode")
            for path in (f"{API}/aggregate", "/orders/-/aggregate.csv", *WAYS):
                answer = get(site, path.format("per_status"), BOSS)
                assert answer.status == 503 and "F642" in answer.text, path
                assert answer.headers["Retry-After"] == "1"
                assert "try again" in answer.text.lower()


def test_reports_of_an_identity_of_the_system_need_a_tenant(site: Runtime) -> None:
    client = Client(site, Identity(user="x", system=True))
    assert client.get(f"{API}/reports/per_status").status == 403


numbers = st.none() | st.integers(-(10**20), 10**20) | st.decimals(-(10**6), 10**6, places=2)
names = st.sampled_from(["a", "b", "<c>", "–"])
lists_of_points = st.lists(st.tuples(st.tuples(names, names) | st.tuples(names), numbers))


@given(lists_of_points, st.sampled_from(["bar", "line", "stacked"]))
def test_a_chart_draws_each_number_once_to_scale_and_inside_of_its_box(
    points: list[tuple[tuple[str, ...], Any]], kind: str
) -> None:
    drawn = chart(kind, points)
    values = [value for _, value in points if value is not None]
    if drawn is None:
        assert values == []
        return
    left, top, width, height = map(float, drawn.box.split())
    most, least = (float(end) for end in drawn.ends)
    assert (left, width, height) == (0, len({keys[0] for keys, _ in points}), 1)
    shapes = chart("bar" if kind == "line" else kind, points)
    assert shapes is not None and len(shapes.bars) == len(values)
    for bar, value in zip(shapes.bars, values, strict=True):
        assert bar.x >= 0 and bar.x + bar.width <= width + 1e-9
        assert top - 1e-9 <= bar.y and bar.y + bar.height <= top + height + 1e-9
        assert bar.height * (most - least) == pytest.approx(
            abs(float(value)), abs=(most - least) / 1e6
        )
        assert bar.title.endswith(f": {value}")
    spans = [(b.x, b.y, b.y + b.height) for b in shapes.bars if b.height]
    for x, begin, end in spans:
        apart = [b for b in spans if b[0] == x and b[1] < end - 1e-9 and begin < b[2] - 1e-9]
        assert len(apart) <= 1 or end - begin < 1e-6, "no bar hides another one"
    marks = sum(len(re.findall("[ML]", line.path)) for line in drawn.lines)
    assert marks == (len(values) if kind == "line" else 0)
    assert drawn.bars == () or kind != "line"


def test_a_chart_without_a_number_is_none() -> None:
    for value in (None, datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), Decimal("NaN")):
        assert chart("bar", [(("a",), value)]) is None
