"""The wide schema as its users meet it: built into one file, served as the app role, asked over
HTTP. Every route is tried across tenants; what no role may see comes out nowhere.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from artifact_runner import Site
from building import build
from catalogues import write_catalogue
from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database

pytestmark = pytest.mark.db

OURS, THEIRS = str(uuid4()), str(uuid4())
ROLES = "member,manager,admin,editor,owner"
SECRET = "only managers read this"
THINGS = "things-yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"


@pytest.fixture(scope="module")
def site(
    wide_project: Path, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The artifact of the wide project, served; one database for this file."""
    root = tmp_path_factory.mktemp("source") / "wide"
    shutil.copytree(wide_project, root)
    write_catalogue(root / "locale", "de", {"Data": "Daten", "not signed in": "nicht angemeldet"})
    folder = tmp_path_factory.mktemp("site")
    artifact = build(root, output=folder / "wide.pyz").path
    with fresh_database(server, ()) as database:
        made = Site(artifact, database, folder)
        try:
            made.serve()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def owner(site: Site) -> Iterator[db.Connection]:
    """The owner's view of the same database."""
    with db.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        yield conn


class User:
    """Asks as one identity."""

    def __init__(self, site: Site, user: str = "", roles: str = "", tenant: str = "") -> None:
        self._site = site
        named = {"X_Test_User": user, "X_Test_Roles": roles, "X_Test_Tenant": tenant}
        self.headers = {name: value for name, value in named.items() if value}

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, the body as JSON or None)."""
        path = path if path.startswith("/api/") else "/api/v1" + path
        status, sent, answer = self._site.ask(method, path, body, **self.headers, **headers)
        return status, sent, json.loads(answer) if answer else None

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST that must succeed; the row."""
        status, _, row = self.ask("POST", path, body)
        assert status == 201, row
        return dict(row)


@pytest.fixture(scope="module")
def ours(site: Site) -> User:
    return User(site, "ann", ROLES, OURS)


@pytest.fixture(scope="module")
def rows(ours: User) -> dict[str, dict[str, Any]]:
    """Path → a row of our tenant, for tests that leave it as it is."""
    return some_rows(ours)


def some_rows(ours: User) -> dict[str, dict[str, Any]]:
    """Path → a new row of this user's tenant."""
    account = {"slug": "fjord", "name": "Fjord", "notes": SECRET, "email": "a@fjord.example"}
    made = {
        "/accounts": ours.create("/accounts", account),
        "/tags": ours.create("/tags", {"name": "red"}),
        "/tickets": ours.create("/tickets", {"code": str(uuid4()), "seat": "1A", "price": 5}),
        f"/{THINGS}": ours.create(f"/{THINGS}", {}),
    }
    account_id = made["/accounts"]["id"]
    made["/orders"] = ours.create("/orders", order("N1", account_id, [made["/tags"]["id"]]))
    made["/profiles"] = ours.create("/profiles", {"account_id": account_id, "contact": "c@x.org"})
    return made


def order(number: str, account: str, labels: list[str]) -> dict[str, Any]:
    body = {"number": number, "kind": "sale", "lane": "fast", "total": "12.50"}
    return body | {"account_id": account, "label_ids": labels}


def key(row: dict[str, Any]) -> str:
    return str(row.get("id") or row["code"])


def routes(user: User, rows: dict[str, Any]) -> list[tuple[str, str]]:
    """(method, path) of every described operation on a tenant's resource, keys filled in."""
    status, _, contract = user.ask("GET", "/api/openapi.json")
    assert status == 200
    found = []
    for path, item in contract["paths"].items():
        short = path.removeprefix("/api/v1")
        base = "/" + short.split("/")[1]
        if base in rows:
            filled = short.replace("{id}", key(rows[base])).replace("{name}", "per_account")
            found += [
                (m.upper(), filled) for m in item if m in ("get", "post", "put", "patch", "delete")
            ]
    return found


def test_the_probe_knows_every_route_of_every_tenants_resource(
    ours: User, rows: dict[str, Any]
) -> None:
    found = routes(ours, rows)
    assert len({path.split("/")[1] for _, path in found}) == 6
    assert len(found) >= 6 * 6 + 3 + 3  # six routes each; restore and audit of three each


def test_no_route_shows_or_touches_a_row_of_another_tenant(
    site: Site, ours: User, rows: dict[str, Any], owner: db.Connection
) -> None:
    theirs = User(site, "bob", ROLES, str(uuid4()))
    before = {path: ours.ask("GET", f"{path}/{key(row)}")[2] for path, row in rows.items()}
    for method, path in routes(ours, rows):
        base, *rest = path[1:].split("/")
        body = {} if method in ("PATCH", "PUT", "POST") else None
        status, _, answer = theirs.ask(method, path, body, If_Match='"1"')
        shown = json.dumps(answer)
        if method == "GET" and not rest:
            assert status == 200 and answer["data"] == [], (path, answer)
        elif rest[:1] == ["-"]:  # an aggregate or a report
            assert status == 200 and answer["items"] in ([], [{"count": 0}]), (path, answer)
        elif method == "POST" and not rest:
            assert status in (201, 422), (path, answer)
        elif method == "PUT" and status == 422:
            pass  # the body is looked at before the row: nothing is said about the row
        else:
            assert status == 404, (method, path, status, answer)
        for row in rows.values():
            assert "fjord" not in shown.lower() and SECRET not in shown
            assert key(row) not in shown or f"/{key(row)}" in path or "not found" in shown
    after = {path: ours.ask("GET", f"{path}/{key(row)}")[2] for path, row in rows.items()}
    assert after == before


def test_nobody_and_somebody_without_a_tenant_get_nothing(
    site: Site, ours: User, rows: dict[str, Any]
) -> None:
    for method, path in routes(ours, rows):
        body = {} if method in ("PATCH", "PUT", "POST") else None
        for user, expected in ((User(site), 401), (User(site, "eve", ROLES), 403)):
            status, _, answer = user.ask(method, path, body, If_Match='"1"')
            assert status == expected, (method, path, answer)
            assert "00000000-0000" not in json.dumps(answer)


@pytest.mark.parametrize("field", ["account_id", "label_ids", "parent_id", "ticket_id"])
def test_a_foreign_key_in_a_body_is_a_row_that_does_not_exist(
    site: Site, rows: dict[str, Any], field: str
) -> None:
    theirs = User(site, "bob", ROLES, THEIRS)
    account = theirs.create("/accounts", {"slug": f"own-{field}".replace("_", "-"), "name": "Own"})
    mine = order(f"X-{field}", account["id"], [])
    foreign = {
        "account_id": rows["/accounts"]["id"],
        "label_ids": [rows["/tags"]["id"]],
        "parent_id": rows["/orders"]["id"],
        "ticket_id": rows["/tickets"]["code"],
    }[field]
    status, _, answer = theirs.ask("POST", "/orders", mine | {field: foreign})
    assert status == 422, answer
    assert [error["pointer"] for error in answer["errors"]] == [f"/{field}"]
    made = theirs.create("/orders", mine)
    path = f"/orders/{made['id']}"
    status, _, answer = theirs.ask("PATCH", path, {field: foreign}, If_Match='"1"')
    assert status == 422, answer
    assert [error["pointer"] for error in answer["errors"]] == [f"/{field}"]


def test_the_database_itself_isolates_tenants_from_the_app_role(
    site: Site, rows: dict[str, Any], owner: db.Connection
) -> None:
    tables = ["accounts", "orders", "profiles", "tags", "tickets", "accounts_tags", "order_labels"]
    with db.connect(site.environ["FORGE_DATABASE_URL"]) as app:
        for tenant, sees in ((None, False), (THEIRS, False), (OURS, True)):
            app.execute("select set_config('forge.tenant_id', %s, false)", [tenant or ""])
            for table in tables:
                query = f'select count(*) from "{table}" where tenant_id = %s'
                (count,) = app.execute(query, [OURS]).fetchone() or (0,)
                whole = owner.execute(query, [OURS]).fetchone()
                assert whole is not None
                assert count == (whole[0] if sees else 0), (table, tenant)


def test_what_a_role_may_not_see_is_in_no_answer(site: Site, rows: dict[str, Any]) -> None:
    member = User(site, "mia", "member", OURS)
    account, profile = rows["/accounts"]["id"], rows["/profiles"]["id"]
    for path in (
        "/accounts",
        f"/accounts/{account}",
        f"/accounts/{account}?include=orders,profile,tags",
        f"/accounts/{account}/audit",
        f"/profiles/{profile}?include=account",
        "/profiles",
        "/orders?include=account",
    ):
        status, _, answer = member.ask("GET", path)
        assert status == 200, (path, answer)
        shown = json.dumps(answer)
        assert SECRET not in shown and '"notes"' not in shown, path
        assert "c@x.org" not in shown and '"contact"' not in shown, path
    status, _, answer = member.ask("PATCH", f"/accounts/{account}", {"name": "Fjord"})
    assert status == 200 and "notes" not in answer
    for query in ("notes=x", "sort=notes", "notes[is_null]=true"):
        assert member.ask("GET", f"/accounts?{query}")[0] == 400
    status, _, answer = member.ask("PATCH", f"/accounts/{account}", {"notes": "mine"})
    assert status == 422 and answer["errors"][0]["pointer"] == "/notes"


def test_what_a_role_may_not_see_is_in_no_export(site: Site, rows: dict[str, Any]) -> None:
    done = site.run("export", "accounts", "--tenant", OURS, "--as-role", "member")
    assert done.returncode == 0, done.stderr
    assert '"fjord"' in done.stdout and SECRET not in done.stdout and "notes" not in done.stdout
    whole = site.run("export", "accounts", "--tenant", OURS, "--all-fields")
    assert SECRET in whole.stdout
    other = site.run("export", "accounts", "--tenant", THEIRS, "--all-fields")
    assert other.returncode == 0 and "fjord" not in other.stdout.lower()


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_exported_list_time_and_duration_is_the_same_after_an_import(
    site: Site, tmp_path: Path, form: str
) -> None:
    tenant = str(uuid4())
    user = User(site, "ann", ROLES, tenant)
    hostile = ["", "a,b", '"', "\\", "{}", "null", "=1", " ü\n"]
    body = {
        "time": "23:59:59.000001",
        "float": 1e-300,
        "tags": hostile[:5],
        "rooms": [-1, 2**31 - 1],
    }
    rows = [
        user.create("/courses", body | {"length": "P400DT0.5S", "days": ["it's"]}),
        user.create("/courses", body | {"length": None, "tags": hostile[5:], "rooms": []}),
    ]
    file = tmp_path / f"courses.{form}"
    done = site.run("export", "courses", "--tenant", tenant, "--all-fields", "-o", str(file))
    assert done.returncode == 0, done.stderr
    again = ("import", "courses", str(file), "--tenant", tenant)
    same = site.run(*again, "--update", "id")
    assert "2 unchanged" in same.stdout, same.stdout + same.stderr
    for row in rows:
        assert user.ask("DELETE", f"/courses/{row['id']}")[0] == 204
    assert "2 created" in site.run(*again).stdout
    for row in rows:
        assert user.ask("GET", f"/courses/{row['id']}")[2] == row


def test_an_event_reaches_its_own_tenant_only_and_names_no_hidden_field(
    site: Site, ours: User, rows: dict[str, Any]
) -> None:
    def stream(tenant: str) -> http.client.HTTPResponse:
        conn = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        headers = {"X-Test-User": tenant, "X-Test-Roles": ROLES, "X-Test-Tenant": tenant}
        conn.request("GET", "/events?topic=accounts", headers=headers)
        return conn.getresponse()

    mine, other = stream(OURS), stream(THEIRS)
    assert mine.status == other.status == 200
    path = f"/accounts/{rows['/accounts']['id']}"
    assert ours.ask("PATCH", path, {"notes": SECRET + "!", "plan": "team"})[0] == 200
    theirs = User(site, "bob", ROLES, THEIRS)
    made = theirs.create("/accounts", {"slug": "their-event", "name": "Theirs"})
    first = read_until(mine, b"account.updated")
    assert SECRET.encode() not in first and b"notes" not in first and b"plan" in first
    second = read_until(other, b"account.created")
    assert made["id"].encode() in second and rows["/accounts"]["id"].encode() not in second
    assert b"account.updated" not in second


def read_until(response: http.client.HTTPResponse, mark: bytes) -> bytes:
    """The stream up to the end of the frame that has `mark`."""
    read = b""
    while mark not in read or not read.endswith(b"\n\n"):
        line = response.readline()
        assert line, read
        read += line
    return read


def test_a_permission_is_asked_for_on_every_operation(
    site: Site, ours: User, rows: dict[str, Any]
) -> None:
    stranger = User(site, "sam", "guest", OURS)
    path = f"/accounts/{rows['/accounts']['id']}"
    body = {"slug": "s", "name": "S"}
    for method, place, sent in (
        ("GET", "/accounts", None),
        ("GET", path, None),
        ("GET", path + "/audit", None),
        ("POST", "/accounts", body),
        ("PATCH", path, {"name": "S"}),
        ("PUT", path, body),
        ("DELETE", path, None),
        ("POST", path + "/restore", None),
    ):
        assert stranger.ask(method, place, sent)[0] == 403, (method, place)
    orders = f"/orders/{rows['/orders']['id']}?include=account"
    status, _, answer = stranger.ask("GET", orders)
    assert status == 403, answer
    events = site.ask("GET", "/events?topic=accounts", **stranger.headers)
    assert events[0] == 403


def test_delete_hides_and_restore_brings_back_with_its_audit(ours: User, owner: Any) -> None:
    row = ours.create("/accounts", {"slug": "gone", "name": "Gone"})
    path = f"/accounts/{row['id']}"
    assert ours.ask("DELETE", path)[0] == 204
    assert ours.ask("GET", path)[0] == 404
    assert ours.ask("DELETE", path)[0] == 404
    assert all(found["id"] != row["id"] for found in ours.ask("GET", "/accounts")[2]["data"])
    again = ours.create("/accounts", {"slug": "gone", "name": "Other"})
    status, _, answer = ours.ask("POST", path + "/restore")
    assert status == 409, answer  # its slug is taken by now
    assert ours.ask("DELETE", f"/accounts/{again['id']}")[0] == 204
    status, _, answer = ours.ask("POST", path + "/restore")
    assert status == 200 and answer["slug"] == "gone"
    entries = ours.ask("GET", path + "/audit")[2]["data"]
    assert [entry["operation"] for entry in entries] == ["restore", "delete", "create"]
    assert {entry["actor"] for entry in entries} == {"ann"}
    assert all(entry["request_id"] for entry in entries)


def test_a_stale_or_missing_version_changes_nothing(ours: User, rows: dict[str, Any]) -> None:
    account = rows["/accounts"]["id"]
    row = ours.create("/orders", order("V1", account, []))
    path = f"/orders/{row['id']}"
    assert ours.ask("PATCH", path, {"select": 1})[0] == 428
    status, headers, _ = ours.ask("PATCH", path, {"select": 1}, If_Match='"1"')
    assert status == 200 and headers["etag"] == '"2"'
    assert ours.ask("PATCH", path, {"select": 2}, If_Match='"1"')[0] == 412
    assert ours.ask("DELETE", path, If_Match='"1"')[0] == 412
    assert ours.ask("GET", path)[2]["select"] == 1
    account = f"/accounts/{account}"
    _, headers, row = ours.ask("GET", account)
    notes, present = row["notes"], headers["etag"]
    for tag in (present, f"W/{present}", f'"77", {present}', "*"):  # RFC 9110 section 13.1.2
        assert ours.ask("PATCH", account, {"notes": notes}, If_None_Match=tag)[0] == 412, tag
    assert ours.ask("PATCH", account, {"notes": notes}, If_None_Match='"77"')[0] == 200


@pytest.mark.thorough
def test_the_same_idempotency_key_creates_once(ours: User, rows: dict[str, Any]) -> None:
    body = order("IDEM", rows["/accounts"]["id"], [])
    status, _, first = ours.ask("POST", "/orders", body, Idempotency_Key="k-1")
    assert status == 201
    status, headers, again = ours.ask("POST", "/orders", body, Idempotency_Key="k-1")
    assert status == 201 and again == first and headers["location"].endswith(first["id"])
    status, _, answer = ours.ask("POST", "/orders", body | {"number": "B"}, Idempotency_Key="k-1")
    assert status == 422, answer


def test_its_manual_is_written_in_each_language_without_a_database(
    site: Site, tmp_path: Path
) -> None:
    done = site.run(
        "manual", "-o", str(tmp_path / "out"), FORGE_DATABASE_URL="", FORGE_ADMIN_TOKEN="zqx" * 9
    )
    assert done.returncode == 0, done.stderr
    english, german = ((tmp_path / "out" / f"{n}.html").read_text() for n in ("index", "de"))
    assert '<html lang="de">' in german and "Daten" in german and "nicht angemeldet" in german
    assert "Daten" not in english and "python3 wide.pyz migrate up" in english
    assert "admin.token" in english and "zqxzqx" not in english
    assert (tmp_path / "out" / "forge.css").stat().st_size > 5000


def test_natural_keys_and_words_of_python_and_sql_work_over_http(site: Site) -> None:
    user = User(site, "ann", ROLES)
    row = user.create("/classes", {"code": "A1", "class": "first", "import": 3, "def": True})
    assert (row["code"], row["class"], row["import"], row["version"]) == ("A1", "first", 3, 1)
    assert user.ask("GET", "/classes/A1")[2] == row
    assert user.ask("PATCH", "/classes/A1", {"code": "B2"})[0] == 422
    status, _, answer = user.ask("PATCH", "/classes/A1", {"class": "second"})
    assert status == 200 and answer["version"] == 2
    found = user.ask("GET", "/classes?class=second&sort=-import")[2]["data"]
    assert [one["code"] for one in found] == ["A1"]
    line = user.create("/lines", {"slug": "u-1", "year": 1902})
    stop = user.create("/stations", {"number": 7, "name": "Zoo", "line_ids": [line["slug"]]})
    status, _, answer = user.ask("GET", "/lines/u-1?include=stops")
    assert status == 200 and [s["number"] for s in answer["stops"]] == [stop["number"]]
    status, _, answer = user.ask("PATCH", "/lines/u-1", {"stop_ids": []})
    assert status == 200 and answer["version"] == 2  # a change of the line, not of its stops
    status, _, answer = user.ask("GET", "/stations/7?include=lines")
    assert (answer["lines"], answer["version"]) == ([], 1)
    assert user.ask("DELETE", "/stations/7")[0] == 204
    row = {"number": 8, "name": "Zoo", "main_line_id": line["slug"]}
    user.create("/stations", row)
    user.create("/stations", {**row, "number": 9, "name": "Castle"})
    user.create("/stations", {"number": 10, "name": "Zoo"})  # null is not equal to null
    user.create("/stations", {"number": 11, "name": "Zoo"})
    for method, path, body in (
        ("POST", "/stations", {**row, "number": 12}),
        ("PATCH", "/stations/9", {"name": "Zoo"}),
    ):
        status, _, answer = user.ask(method, path, body)
        assert status == 409 and "main_line_id, name" in answer["detail"]
        message = "Two stations of a line have different names."
        assert answer["errors"] == [
            {"pointer": f"/{name}", "code": "taken", "message": message}
            for name in ("main_line_id", "name")
        ]
    assert user.ask("GET", "/stations/seven")[0] == 404


def test_a_condition_is_one_error_whoever_finds_it(ours: User) -> None:
    account = ours.create("/accounts", {"slug": "condition", "name": "C"})["id"]
    row = ours.create("/orders", {**order("C1", account, []), "select": 12})
    wrong = {
        (f"/{name}", "condition", "A total is at least its select.") for name in ("select", "total")
    }
    path, version = f"/orders/{row['id']}", {"If_Match": '"1"'}
    for method, at, body, headers in (
        (
            "POST",
            "/orders",
            {**order("C2", account, []), "select": 13},
            {},
        ),  # found before the write
        ("PATCH", path, {"select": 13}, version),  # found by PostgreSQL
        ("PATCH", path, {"total": "3"}, version),
        ("PATCH", path, {"total": "3", "select": 4}, version),
    ):
        status, _, answer = ours.ask(method, at, body, **headers)
        assert status == 422, answer
        assert {(e["pointer"], e["code"], e["message"]) for e in answer["errors"]} == wrong
    assert ours.ask("PATCH", path, {"select": None}, **version)[0] == 200


HOSTILE: tuple[Any, ...] = (
    ("", "\x00", "\ud800", "é" * 300, "x" * 3000, "1E-7", "9" * 401, "2026-02-30", "{name}", "%_\\")
    + (True, -1, 1 << 31, 1 << 63, 10**400, 1e308, [], {}, {"\x00": 1}, ["x" * 300], [None], [[1]])
    + (["y", "y"], "9999-12-31T23:59:59-23:59")
)


@pytest.mark.thorough
def test_no_value_of_a_field_is_a_defect_and_a_refused_one_is_pointed_at(site: Site) -> None:
    ours = User(site, "hal", ROLES, str(uuid4()))  # the rows end up with anything in them
    rows = some_rows(ours)
    made = {
        "/documents": ours.create("/documents", {"string": "ab", "settings": {}})["id"],
        "/classes": ours.create("/classes", {"code": "HH", "class": "hostile"})["code"],
        "/lines": ours.create("/lines", {"slug": "hostile", "year": 1900})["slug"],
        "/stations": ours.create("/stations", {"number": 99, "name": "Hostile"})["number"],
    }
    contract = ours.ask("GET", "/api/openapi.json")[2]
    for base, at in {**{path: key(row) for path, row in rows.items()}, **made}.items():
        patch = contract["paths"][f"/api/v1{base}/{{id}}"]["patch"]["requestBody"]["content"]
        name = patch["application/json"]["schema"]["$ref"].split("/")[-1]
        for field in contract["components"]["schemas"][name]["properties"]:
            for value in HOSTILE:
                status, _, answer = ours.ask("PATCH", f"{base}/{at}", {field: value}, If_Match="*")
                assert status in (200, 422), (base, field, value, answer)
                pointers = [error["pointer"] for error in answer.get("errors", ())]
                assert status == 200 or all(p.split("/")[1] == field for p in pointers), answer
                assert status == 200 or pointers, (base, field, value, answer)


@pytest.mark.thorough
def test_no_parameter_of_a_list_is_a_defect_and_a_refused_one_is_named(
    ours: User, rows: dict[str, dict[str, Any]]
) -> None:
    columns = [*rows["/orders"], "limit", "page", "per_page", "cursor", "sort", "q", "include", "x"]
    for name in columns:
        for operator in ("", "[in]", "[gte]", "[contains]", "[is_null]", "[x]"):
            for value in (str(each)[:400] for each in HOSTILE if each != "\ud800"):
                query = urlencode({name + operator: value})
                status, _, answer = ours.ask("GET", f"/orders?{query}")
                assert status in (200, 400), (query, answer)
                named = name in answer.get("detail", name) or name in ("sort", "q")
                assert named, (query, answer)
