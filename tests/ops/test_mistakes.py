"""A person's mistakes, told by the built artifact: one clear error each, exit 1, never a
traceback.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

pytestmark = pytest.mark.db


def refused(done: Any, *expected: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "error[F" in done.stderr, done.stderr
    for text in expected:
        assert text in done.stderr, done.stderr


def test_no_database_is_named(homeless: Any) -> None:
    refused(homeless.run("serve"), "error[F204]", "FORGE_DATABASE_URL")
    refused(homeless.run("serve", FORGE_ENV="production"), "database.url", "auth.secret")


@pytest.mark.thorough
def test_a_database_that_does_not_answer(homeless: Any) -> None:
    url = "postgresql://me:sesame@127.0.0.1:1/none"
    done = homeless.run("serve", FORGE_DATABASE_URL=url)
    refused(done, "error[F401]", "127.0.0.1:1", "hint:")
    assert "sesame" not in done.stderr + done.stdout
    refused(homeless.run("migrate", "up", FORGE_DATABASE_URL=url), "error[F401]")
    refused(homeless.run("worker", FORGE_DATABASE_URL=url), "error[F401]")


def test_a_wrong_password_is_not_repeated(site: Any) -> None:
    url = site.environ["FORGE_DATABASE_URL"]
    wrong = make_conninfo(url, password="sesame")
    done = site.run("serve", FORGE_DATABASE_URL=wrong)
    refused(done, "error[F401]", "hint:")
    assert "sesame" not in done.stderr + done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("variable", ["FORGE_SERVER_PORT", "FORGE_ADMIN_PORT"])
def test_a_port_in_use(site: Any, variable: str) -> None:
    assert site.run("migrate", "up").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = site.run("serve", **{variable: port})
    refused(done, "error[F500]", port, "hint:")


def test_every_bad_value_is_reported_at_once(homeless: Any) -> None:
    done = homeless.run(
        "serve",
        FORGE_SERVER_PORT="eighty",
        FORGE_SSE_MAX_PER_USER="ten",
        FORGE_JOBS_POLL_INTERVAL="1",
    )
    refused(done, "FORGE_SERVER_PORT", "FORGE_SSE_MAX_PER_USER", "FORGE_JOBS_POLL_INTERVAL")
    assert done.stderr.count("error[F200]") == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server\nport = 1", "error[F202]"),
        ("[server]\nprot = 1", "did you mean"),
        ("[sse]\nmax_per_user = 'ten'", "error[F200]"),
    ],
)
def test_a_broken_forge_toml(homeless: Any, tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "forge.toml"
    file.write_text(text)
    refused(homeless.run("serve", FORGE_CONFIG=str(file)), expected, "forge.toml")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            '{"code": "DE", "name": "Germany"}\n{"code": "FRA"}',
            ":2: code",
        ),
        ('{"code": "DE", "name": "Germany"}\n\n{"code": ', ":3: malformed JSON"),
        ('{"code": "DE", "name": "Germany"}\n[]', ":2: not a JSON object"),
        ('{"code": "DE", "name": "Germany", "id": "7"}', ":1: id"),
    ],
)
def test_a_wrong_line_of_an_import_is_named_and_nothing_is_kept(
    site: Any, tmp_path: Path, lines: str, expected: str
) -> None:
    assert site.run("migrate", "up").returncode == 0
    file = tmp_path / "rows.jsonl"
    file.write_text(lines)
    refused(site.run("import", "countries", str(file)), expected)
    file.write_text('{"code": "DE", "name": "Germany"}\n')
    done = site.run("import", "countries", str(file), "--json")
    assert done.returncode == 0 and '"rows": 1' in done.stdout, done.stderr


@pytest.mark.thorough
def test_a_csv_is_imported_by_its_header(site: Any, tmp_path: Path) -> None:
    assert site.run("migrate", "up").returncode == 0
    file = tmp_path / "countries.csv"
    file.write_text('code,name\nDE,Germany\nFR,"France, la"\n')
    assert site.run("import", "countries", str(file)).returncode == 0
    done = site.run("export", "countries", "--sort=-code", "--format", "csv")
    assert [line.split(",", 1)[1][:15] for line in done.stdout.splitlines()] == [
        "code,name,versi",
        'FR,"France, la"',
        "DE,Germany,1,20",
    ]
    file.write_text("code,name\nIT,Italy\nES\n")
    refused(site.run("import", "countries", str(file)), "countries.csv:3")
    file.write_text("code,wings\nIT,2\n")
    refused(site.run("import", "countries", str(file)), ":1: ", "wings")


@pytest.mark.thorough
def test_an_unknown_resource_or_file(site: Any, tmp_path: Path) -> None:
    assert site.run("migrate", "up").returncode == 0
    refused(site.run("import", "wings", "x.jsonl"), "countries")
    refused(site.run("import", "countries", str(tmp_path / "none.jsonl")), "none.jsonl")


def test_wrong_use_is_2(homeless: Any) -> None:
    assert homeless.run("fly").returncode == 2
    assert homeless.run("migrate").returncode == 2
    url = "postgresql://me@127.0.0.1:1/none"
    done = homeless.run("worker", "--queues", "default=many", FORGE_DATABASE_URL=url)
    assert done.returncode == 2 and "default=many" in done.stderr


def test_a_forge_toml_that_is_not_text(homeless: Any, tmp_path: Path) -> None:
    file = tmp_path / "forge.toml"
    file.write_bytes(b"\xff\xfe")
    refused(homeless.run("serve", FORGE_CONFIG=str(file)), "error[F202]", "forge.toml")
