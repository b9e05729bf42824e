"""The application's own manual says what the application does."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min.app import ApplicationManual, Runtime, declared_router
from forge_min.auth import Identity, as_identity
from forge_min.errors import ForgeError
from forge_min.html import FormField, display_fields
from forge_min.jobs import Job
from forge_min.ops import load_project
from forge_min.testing import Client, ClientResponse, Factory, TestDatabase, running_app
from forge_min.wsgi import Route

pytestmark = pytest.mark.db

TENANT = str(uuid4())
REQUESTS = {
    "Read": ("GET", ""),
    "Create": ("POST", ""),
    "Change": ("PATCH", "/{id}"),
    "Delete": ("DELETE", "/{id}"),
    "Restore": ("POST", "/{id}/restore"),
    "Read the history": ("GET", "/{id}/audit"),
    "Close": ("POST", "/{id}/close"),
    "Cancel": ("POST", "/{id}/cancel"),
    "Reopen": ("POST", "/{id}/reopen"),
    "Report: Per account": ("GET", "/-/reports/per_account"),
    "Report: Lengths": ("GET", "/-/reports/lengths"),
    "Report: Per status": ("GET", "/-/reports/per_status"),
    "Report: Over time": ("GET", "/-/reports/over_time"),
}
OTHERS = {
    "string": "QQ", "text": "QQ", "slug": "qq", "email": "qq@example.com", "url": "https://qq.example",
    "int": 1901, "bigint": 77, "decimal": "7", "bool": False, "json": {"q": 1}, "many": [],
    "date": "1999-01-31", "datetime": "1999-01-31T12:00:00Z", "time": "19:01:00",
    "duration": "PT1H", "float": 1901.5, "string[]": ["QQ"], "int[]": [1901], "enum[]": [],
}  # fmt: skip
MORE = {"classes": {"code": "AB"}}  # values that a factory cannot know
EVERY_ROLE = "member,manager,admin,editor,owner"
Table = list[list[str]]


def reader(roles: str, **headers: str) -> dict[str, str]:
    """The headers of a user; of nobody for "not signed in"."""
    if roles == "not signed in":
        return headers
    names = "" if roles == "signed in" else roles
    return {"X-Test-User": "ann", "X-Test-Roles": names, "X-Test-Tenant": TENANT, **headers}


def tables(page: str) -> dict[str, Table]:
    """The cells of each table by the id of its heading."""
    found = {}
    for name, body in re.findall(
        r'aria-labelledby="(?:\w+ )?([\w-]+)">\s*(<table.*?</table>)', page, re.S
    ):
        rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
        plain = [[html.unescape(re.sub("<[^>]+>", "", cell)) for cell in row] for row in cells]
        found[name] = plain
    return found


@pytest.fixture
def site(wide_database: TestDatabase) -> Iterator[Runtime]:
    """The project, for more requests than people send."""
    with running_app(wide_database, FORGE_API_RATE_LIMIT='{default = "1000000/1m"}') as running:
        yield running


@pytest.fixture
def manual(site: Runtime) -> dict[str, Table]:
    """Its tables."""
    page = Client(site).get("/-/help", headers=reader("manager", Accept="text/html"))
    assert page.status == 200, page.text
    return tables(page.text)


def routes() -> list[Route]:
    """All routes of the project."""
    return declared_router(load_project().code())[1].routes()


def topics() -> Iterator[tuple[str, str]]:
    """Each topic, and the path of its list."""
    for route in routes():
        topic, _, operation = route.name.partition(".")
        if operation == "list":
            yield topic, route.pattern


def is_allowed(response: ClientResponse) -> bool:
    assert response.status < 500 and response.status != 429, response.text
    return response.status not in (401, 403)


def can_set(client: Client, path: str, id: str, name: str, value: Any, roles: str) -> bool:
    """Whether a create or an update takes another value of the field."""
    for method, target in (("POST", path), ("PATCH", f"{path}/{id}")):
        version = client.get(f"{path}/{id}", headers=reader(EVERY_ROLE)).headers["ETag"]
        headers = reader(roles, **({"If-Match": version or ""} if method == "PATCH" else {}))
        response = client.request(method, target, json={name: value}, headers=headers)
        if is_allowed(response):
            errors = response.json.get("errors", []) if response.status == 422 else []
            mine = {error["code"] for error in errors if error["pointer"] == f"/{name}"}
            if not mine & {"not_writable", "unknown", "immutable", "read_only"}:
                return True
    return False


def test_the_matrix_of_roles_is_what_the_application_allows(
    site: Runtime, manual: dict[str, Table]
) -> None:
    client, compared = Client(site), set()
    for topic, path in topics():
        head, *lines = manual[f"roles-{topic}"]
        fields = [cells[1] for cells in manual[f"data-{topic}"][1:]]
        operations, access = lines[: -len(fields)], lines[-len(fields) :]
        row = new_row(site, topic)
        other = {
            field.name: another(field)
            for field in display_fields(site.registry.actions[topic].resource)
        }
        relations = site.registry.actions[topic].resource.relations
        many = {relation.field: relation.name for relation in relations if relation.field}
        for column, roles in enumerate(head[1:], 1):
            for cells in operations:
                method, end = REQUESTS[cells[0]]
                id = row["id"] if method == "PATCH" else other[fields[0]]
                response = client.request(
                    method, path + end.format(id=id), json={}, headers=reader(roles)
                )
                assert (cells[column] == "yes") == is_allowed(response), (topic, roles, cells)
                compared.add(cells[column])
            seen = client.get(f"{path}/{row['id']}", headers=reader(roles))
            shown = seen.json if seen.status == 200 else {}
            for name, cells in zip(fields, access, strict=True):
                if name in many:
                    asked = f"{path}/{row['id']}?include={many[name]}"
                    answer = client.get(asked, headers=reader(roles))
                    if answer.status == 200 and many[name] in answer.json:
                        shown[name] = answer.json[many[name]]
                real = (name in shown, can_set(client, path, row["id"], name, other[name], roles))
                written = ("read" in cells[column], "write" in cells[column])
                assert written == real, (topic, roles, name, cells[column])
                compared.add(cells[column])
    assert compared == {"yes", "no", "reads", "writes", "reads and writes"}


def another(field: FormField) -> Any:
    """A value that rows do not have."""
    if field.kind == "uuid":
        return str(uuid4())
    return field.choices[-1] if field.kind == "enum" else OTHERS[field.kind]


def new_row(site: Runtime, topic: str) -> dict[str, Any]:
    """A row as the system sees it."""
    with as_identity(Identity("system", tenant=UUID(TENANT), system=True)):
        factory = Factory.of(site, topic)
        made = factory.create(**MORE.get(topic, {}))
        return {"id": str(factory.actions.key_of(made)), **factory.actions.to_json(made)}


def test_only_the_roles_that_app_py_names_read_it(site: Runtime) -> None:
    client = Client(site)
    for roles, status in (("manager", 200), ("admin", 200), ("member", 403), ("signed in", 403)):
        assert client.get("/-/help", headers=reader(roles)).status == status, roles
    assert client.get("/-/help").status == 401
    for roles, offered in (("manager", True), ("member", False)):
        page = client.get("/", headers=reader(roles, Accept="text/html"))
        assert ('href="/-/help"' in page.text) == offered


def test_it_lists_the_api_the_jobs_and_the_configuration_without_secrets(
    site: Runtime, manual: dict[str, Table]
) -> None:
    listed = {(cells[0], cells[1]) for cells in manual["api"][1:]}
    served = {(route.method, route.pattern) for route in routes()}
    assert listed == {(m, p) for m, p in served if p.startswith("/api/v1/")}
    jobs = {cells[0]: cells[2] for cells in manual["jobs"][1:]}
    assert "after a new row of Documents" in jobs["Notify"]
    settings = {cells[0]: cells[1] for cells in manual["configuration"][1:]}
    assert settings["database.url"] and "password=*** " in settings["database.url"]
    rules = {cells[1]: cells[3] for cells in manual["data-accounts"]}
    assert rules["name"] == "required, at least 1 characters, at most 80 characters"
    assert rules["email"].endswith("unique, personal data")
    assert rules["credit"].startswith("0 or more, ")


def test_names_may_be_those_of_the_manual(site: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb with the name of an operation, a role with that of a heading."""
    monkeypatch.setenv("FORGE_AUTH_ROLES", '["signed in", "guest"]')
    code = load_project().code()
    monkeypatch.setattr(
        code.app, "verbs", [*code.app.verbs, ("documents", "audit", lambda: None, True)]
    )
    registry, router = declared_router(code)
    content = ApplicationManual(code, registry, router.routes()).content()
    assert content["roles"].count("signed in") == 2 and "guest" in content["roles"]
    documents = next(each for each in content["resources"] if each.topic == "documents")
    labels = [line.label for line in documents.access]
    assert labels.count("Read the history") == 1
    assert {len(line.cells) for line in documents.access} == {len(content["roles"])}


def test_a_scheduled_job_needs_no_hook(site: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nightly:
        """Clean up."""

        kind = "Nightly"

        def work(self, job: Job) -> None: ...

    code = load_project().code()
    monkeypatch.setattr(code.app, "schedules", [])
    code.app.periodic("nightly", 60.0, "Nightly")
    code = code._replace(workers=[*code.workers, Nightly])
    registry, router = declared_router(code)
    content = ApplicationManual(code, registry, router.routes()).content()
    described = next(each for each in content["jobs"] if each.name == "Nightly")
    assert described.queue == "default" and described.about == "Clean up."


def test_a_folder_that_cannot_be_written_is_an_error(site: Runtime, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ForgeError, match="cannot write .*taken") as caught:
        load_project().manual().write(tmp_path / "taken")
    assert caught.value.code == "F002"
