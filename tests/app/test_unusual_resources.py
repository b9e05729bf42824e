"""Resources that are hard for pages: names of our own pages, 300 fields, 10,000 targets."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.testing import Client, fresh_database, running_app

from wide_project import importable

pytestmark = [pytest.mark.db, pytest.mark.slow]
APP = (
    'from forge_min.app import App\napp = App()\napp.sign_in()\n'
    'app.administration("admin")\napp.manual("anybody")\n'
)  # fmt: skip


@contextmanager
def project(root: Path, server: EmbeddedServer, **schemas: str) -> Iterator[tuple[Client, str]]:
    """A running project with a resource of each schema; also the URL of its database."""
    for name, body in schemas.items():
        folder = root / "resources" / name
        folder.mkdir(parents=True)
        head = f"from forge_min import schema\n{name} = schema.define(\n"
        (folder / "schema.py").write_text(f'{head}"{name.title()}",\n{body}\n)\n')
    (root / "app.py").write_text(APP)
    (root / "forge.toml").write_text('[project]\nname = "unusual"\n')
    for words in (["generate"], ["migrate", "diff"]):
        command = [sys.executable, "-m", "forge_min", *words]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    migrations = (*db.FORGE_MIGRATIONS, *db.read_migrations(root / "migrations", "app"))
    with importable(root), fresh_database(server, migrations) as database:
        with running_app(database) as app:
            yield Client(app), database.app_url


def send(client: Client, path: str, **fields: str) -> int:
    """Send the form of a page of this resource; the status."""
    page = client.get(f"{path}/new")
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": str(page.headers["Set-Cookie"]).partition(";")[0],
    }
    body = urlencode({**hidden, **fields}).encode()
    return client.post(f"{path}/new", body=body, headers=headers).status


def test_resources_with_the_names_of_our_pages_keep_their_paths(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    field = 'schema.string("name", required=True),'
    names = ("person", "tenant", "report", "help", "key", "account")
    schemas = dict.fromkeys(names, field)
    with project(tmp_path, server, **schemas) as (client, _):
        links = dict(re.findall(r'<li><a href="(/[^"]+)" *>([^<]+)</a></li>', client.get("/").text))
        for name in names:
            (path,) = [path for path in links if re.match(rf"/{name[:4]}\w*$", path)]
            assert send(client, path, name="Anna") == 303, path
            assert "Anna" in client.get(path).text
            assert client.get(f"/api/v1{path}").json["data"][0]["name"] == "Anna"
        assert client.get("/-/people").status in (303, 401)
        assert client.get("/-/help").status == 200 and client.get("/account/sign-in").status == 200


def test_a_resource_of_300_fields_has_its_pages(server: EmbeddedServer, tmp_path: Path) -> None:
    fields = "\n".join(f'schema.string("field_{n}", filterable=True),' for n in range(300))
    with project(tmp_path, server, form=fields) as (client, _):
        values = {f"field_{n}": f"value {n}" for n in range(300)}
        assert send(client, "/forms", **values) == 303
        page = client.get("/forms").text
        id = re.findall(r'href="/forms/([0-9a-f-]{36})"', page)[0]
        assert page.count("<th") < 20, "a list shows the first columns"
        record = client.get(f"/forms/{id}").text
        assert all(f"value {n}<" in record for n in range(300))
        assert client.get(f"/forms/{id}/edit").text.count("<input") >= 300
        (filters,) = re.findall(r'href="([^"]+)">Filter<', page)
        assert client.get(filters).text.count('name="field_') >= 300
        assert "value 299" in client.get("/forms?field_299=value+299").text


def test_a_relation_with_10_000_targets_is_searched(server: EmbeddedServer, tmp_path: Path) -> None:
    schemas = {
        "city": 'schema.string("name", required=True, searchable=True),',
        "visit": 'schema.belongs_to("City", required=True),',
    }
    with project(tmp_path, server, **schemas) as (client, url):
        with db.connect(url) as conn:
            sql = "insert into cities (name) select 'City ' || n from generate_series(1, 10000) n"
            conn.execute(sql)
        page = client.get("/visits/new").text
        assert len(page) < 50_000 and 'name="city_id.q"' in page
        found = client.get("/visits/new/choices?field=city_id&q=9999").text
        (id,) = re.findall(r'value="([0-9a-f-]{36})"', found)
        assert send(client, "/visits", city_id=id) == 303
        assert "City 9999" in client.get("/visits").text


def test_a_filter_of_a_large_table_has_an_index_or_is_refused(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.actions.lists.contains.MAX_SCANNED", 1000)
    substring = 'filterable=True, searchable="substring"'
    schemas = {
        "city": f'schema.string("name", required=True, filterable=True),'
        f'schema.email("email", {substring}),',
        "visit": 'schema.belongs_to("City", required=True),',
    }
    with project(tmp_path, server, **schemas) as (client, url):
        with db.connect(url) as conn:
            conn.execute(
                "insert into cities (name, email) select 'City ' || n, 'c' || n || '@x.org'"
                " from generate_series(1, 9999) n"
            )
        path = "/api/v1/cities?email[contains]="
        assert client.get(f"{path}c9999@").json["data"][0]["name"] == "City 9999"
        refused = client.get("/api/v1/cities?name[contains]=ty+9999")
        assert (refused.status, refused.json["code"]) == (400, "F650")
        assert refused.json["errors"][0]["pointer"] == "/name[contains]"
        allowed = client.get(f"{path}c9999@&name[contains]=ty")
        assert [row["name"] for row in allowed.json["data"]] == ["City 9999"]
        problem = "name: contains would search more than 1000 rows"
        page = client.get("/cities?name[contains]=ty&_filters=1")
        assert page.status == 400 and problem in page.text
        assert 'value="ty"' in page.text, "the filter form keeps the words"
        assert client.get("/cities.csv?name[contains]=ty").status == 400
        # A form's search for a related row, with JavaScript and without.
        headers = {"Accept": "application/json"}
        choices = client.get("/visits/new/choices?field=city_id&q=ty", headers=headers)
        assert choices.status == 400 and choices.json["detail"].startswith(problem)
        assert problem in client.get("/visits?_filters=1&city_id.q=ty").text
