"""What of a project goes into an artifact, and what never does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from forge_min.errors import BuildError, ConfigError
from forge_min.ship.project import project_members, read_project, style_sources


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with one of everything."""
    files = {
        "forge.toml": '[project]\nname = "shop"\nversion = "1.2"\n',
        "app.py": "import prices\nfrom tools.paint import x\nfrom forge_min.app import App\n",
        "prices.py": "import currency as c\n",
        "currency.py": "",
        "run.py": "import secrets_of_mine\n",
        "secrets_of_mine.py": "",
        "tools/__init__.py": "",
        "tools/paint.py": "x = 1\n",
        "tools/.hidden.py": "",
        "gen/__init__.py": "",
        "gen/openapi.json": "{}",
        "gen/.generated": "",
        "resources/item/schema.py": "",
        "resources/item/actions.py": "from . import words\n",
        "resources/item/words.py": "",
        "resources/item/words.txt": "",
        "resources/item/views/list.html": "",
        "migrations/0001_a.sql": "",
        "migrations/notes.md": "",
        "static/css/a.css": "",
        "static/.hidden": "",
        "tests/test_a.py": "",
        ".env": "SECRET=1",
    }
    for name, text in files.items():
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_text(text)
    return tmp_path / "shop"


def test_what_runs_goes_in_and_nothing_else(small: Path) -> None:
    assert set(project_members(small)) == {
        "forge.toml",
        "app.py",
        "prices.py",
        "currency.py",
        "tools/__init__.py",
        "tools/paint.py",
        "gen/__init__.py",
        "gen/openapi.json",
        "resources/item/actions.py",
        "resources/item/words.py",
        "resources/item/words.txt",
        "migrations/0001_a.sql",
        "static/css/a.css",
    }


def test_name_and_version_are_read(small: Path) -> None:
    project = read_project(small)
    assert (project.name, project.version) == ("shop", "1.2")


def test_without_a_name_it_is_the_default_of_the_configuration(small: Path) -> None:
    (small / "forge.toml").write_text("")
    assert read_project(small).name == "app"


@pytest.mark.parametrize("missing", ["forge.toml", "app.py"])
def test_a_folder_that_is_no_project_is_an_error(small: Path, missing: str) -> None:
    (small / missing).unlink()
    with pytest.raises(BuildError) as caught:
        read_project(small)
    assert caught.value.code == "F340"


@pytest.mark.parametrize("name", ['"../up"', '"a b"', '""', '".x"', '"a\\nb"', '"$(x)"'])
def test_a_name_that_no_file_should_have_is_refused(small: Path, name: str) -> None:
    (small / "forge.toml").write_text(f"[project]\nname = {name}\n")
    with pytest.raises(BuildError) as caught:
        read_project(small)
    assert caught.value.code == "F340"


@pytest.mark.parametrize("text", [b"[project\n", b"x = \xff\n"])
def test_broken_toml_is_one_error(small: Path, text: bytes) -> None:
    (small / "forge.toml").write_bytes(text)
    with pytest.raises(ConfigError, match="forge.toml"):
        read_project(small)


@pytest.mark.parametrize("place", ["static/css/key.css", "gen/key.py", "migrations/9_key.sql"])
def test_a_link_is_refused(small: Path, place: str) -> None:
    (small.parent / "secret").write_text("")
    (small / place).symlink_to(small.parent / "secret")
    with pytest.raises(BuildError, match="symbolic link") as caught:
        project_members(small)
    assert caught.value.code == "F343"


def test_a_link_to_a_folder_is_refused(small: Path) -> None:
    (small / "static" / "all").symlink_to("/", target_is_directory=True)
    with pytest.raises(BuildError) as caught:
        project_members(small)
    assert caught.value.code == "F343"


def test_a_special_file_is_refused_and_not_waited_for(small: Path) -> None:
    os.mkfifo(small / "static" / "pipe")
    with pytest.raises(BuildError) as caught:
        project_members(small)
    assert caught.value.code == "F343"


def test_code_that_does_not_parse_names_its_line(small: Path) -> None:
    (small / "app.py").write_text("import os\n\ndef f(:\n")
    with pytest.raises(BuildError, match=r"app\.py:3") as caught:
        project_members(small)
    assert caught.value.code == "F344"


SECRETS = {
    ".env": "",
    ".env.production": "",
    "css/.htpasswd": "",
    "id_ed25519": "",
    "server.KEY": "",
    "backup/shop.sqlite3": "",
    "db-credentials.json": "{}",
    "secrets.yml": "",
    "chain.pem": "-----BEGIN EC PRIVATE KEY-----\n",
    "js/pay.js": "const key = 'AKIAABCDEFGHIJKLMNOP';",
    "notes.txt": "token ghp_" + "a1" * 18,
}


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_is_not_given_to_browsers(small: Path, name: str) -> None:
    place = small / "static" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(SECRETS[name])
    with pytest.raises(BuildError, match=f"static/{name} looks like a secret") as caught:
        project_members(small)
    assert caught.value.code == "F343"


@pytest.mark.parametrize("name", ["chain.pem", "keys.css", "secret-garden.jpg", "environment.js"])
def test_what_only_sounds_like_one_goes_in(small: Path, name: str) -> None:
    (small / "static" / name).write_text("-----BEGIN CERTIFICATE-----\n")
    assert f"static/{name}" in project_members(small)


def test_a_way_out_of_the_project_is_no_source_of_a_stylesheet(small: Path) -> None:
    (small.parent / "out.css").write_text("")
    (small / "forge.toml").write_text('[assets]\ncss = "static/../../out.css"\n')
    with pytest.raises(BuildError) as caught:
        style_sources(read_project(small))
    assert caught.value.code == "F343"
