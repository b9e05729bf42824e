"""What of a project goes into an artifact, and what never does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forge_min.errors import BuildError, ConfigError
from forge_min.ship.project import (
    ProjectInfo,
    check_files,
    project_members,
    read_project,
    style_sources,
)
from forge_min.ship.stylesheets import check_stylesheets


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


SECRET_KEYS = """
[database]
url = "postgresql://shop:s3cret@db/shop"
migrate_url = "postgresql://owner@db/shop"
[auth]
secret = "0123456789abcdef0123456789abcdef"
[admin]
token = "t"
[observe]
otlp_headers = {Authorization = "Bearer x"}
"""


def test_secrets_of_forge_toml_are_known_by_their_place(small: Path) -> None:
    assert read_project(small).secrets == {}
    with (small / "forge.toml").open("a") as file:
        file.write(SECRET_KEYS)
    assert read_project(small).secrets == {
        "forge.toml:6: database.url": "FORGE_DATABASE_URL",
        "forge.toml:13: observe.otlp_headers": "FORGE_OBSERVE_OTLP_HEADERS",
        "forge.toml:11: admin.token": "FORGE_ADMIN_TOKEN",
        "forge.toml:9: auth.secret": "FORGE_AUTH_SECRET",
    }


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


@pytest.mark.parametrize(
    "place",
    [
        "views/home.html",
        "views",
        "resources/item/views/list.html",
        "resources/item/schema.py",
        "resources/other",
        "static/.hidden.d",
        "static/.git/config",
        "locale/de/messages.mo",
    ],
)
def test_a_link_is_refused_wherever_a_build_reads(small: Path, place: str) -> None:
    outside = small.parent / "outside"
    outside.mkdir()
    (outside / "schema.py").write_text("")
    path = small / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "schema.py" if "." in path.name else outside)
    with pytest.raises(BuildError, match=f"^{place} is a symbolic link") as caught:
        check_files(small)
    assert caught.value.code == "F343"


def test_what_a_build_does_not_read_may_be_a_link(small: Path) -> None:
    for place in ("tests/all", ".venv", "resources/item/.#actions.py", "resources/__pycache__"):
        (small / place).symlink_to(small.parent)
    check_files(small)


@pytest.mark.parametrize("place", ["static/css/x.css", "views/x.html", "resources/x/schema.py"])
def test_a_special_file_is_refused_before_it_is_read(small: Path, place: str) -> None:
    (small / place).parent.mkdir(exist_ok=True)
    os.mkfifo(small / place)
    with pytest.raises(BuildError, match="special file") as caught:
        check_files(small)
    assert caught.value.code == "F343"


@pytest.mark.parametrize("name", ["a\nb.txt", "a\u2028b.txt", "a\x85b", "a\udcffb.txt", "\x1b[2J"])
@pytest.mark.parametrize("folder", ["static", "tools", "resources/item", "static/a\rb"])
def test_a_name_that_no_list_of_files_can_hold_is_refused(
    small: Path, folder: str, name: str
) -> None:
    (small / folder).mkdir(exist_ok=True)
    (small / folder / name).write_text("")
    with pytest.raises(BuildError, match="a list of files cannot contain") as caught:
        project_members(small)
    assert caught.value.code == "F343" and str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["größe.svg", "a b.txt", "日本.png", "a\\b", "a'\"b.txt"])
def test_names_in_any_language_go_in(small: Path, name: str) -> None:
    (small / "static" / name).write_text("")
    check_files(small)
    assert f"static/{name}" in project_members(small)


UNREADABLE = """
import sys
from pathlib import Path
from forge_min.errors import BuildError
from forge_min.ship.project import check_files, project_members, read_project
from forge_min.ship.stylesheets import check_stylesheets
from forge_min.ship.stylesheets import asks_for_tailwind
root = Path(sys.argv[1])
try:
    check_files(root), asks_for_tailwind(read_project(root)), check_stylesheets(root)
    project_members(root)
except BuildError as err:
    print(err.code, err.message)
"""


@pytest.mark.parametrize(
    "place", ["app.py", "static/css/a.css", "static/css/input.css", "static/css", "resources/item"]
)
def test_what_may_not_be_read_is_one_error(small: Path, place: str) -> None:
    (small / "static/css/input.css").write_text("")
    (small / place).chmod(0)
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    try:
        shown = subprocess.run(
            [*(powerless if os.geteuid() == 0 else ()), sys.executable, "-c", UNREADABLE, small],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    finally:
        (small / place).chmod(0o700)
    assert shown == f"F343 {place} cannot be read: Permission denied\n"


def test_folders_named_like_files_are_folders(small: Path) -> None:
    for name in ("static/css/d.css", "static/chart.js", "static/credentials", "static/old.db"):
        (small / name).mkdir()
        (small / name / "a.svg").write_text("")
    check_files(small)
    check_stylesheets(small)
    assert "static/css/d.css" not in style_sources(read_project_with_css(small))
    assert "static/credentials/a.svg" in project_members(small)


def read_project_with_css(root: Path) -> ProjectInfo:
    (root / "static/css/input.css").write_text("")
    return read_project(root)


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


def test_a_locale_that_reads_names_otherwise_is_told_of(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In de_DE.ISO-8859-1 the artifact would hold `static/Ã©.css`."""
    (small / "static" / "\u00e9.css").write_text("")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(BuildError, match="\u00e9\\.css.*locale") as caught:
        check_files(small)
    assert caught.value.code == "F343"


@pytest.mark.parametrize("text", ["-" * 200_000 + "1", "+".join(["1"] * 20_000)])
def test_code_that_is_nested_too_deeply_names_its_file(small: Path, text: str) -> None:
    (small / "app.py").write_text(f"x = {text}\n")
    with pytest.raises(BuildError, match=r"app\.py:1: .*(too complex|recursion)") as caught:
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
    "app.db": "",
    "APP.DB-wal": "",
    "prod.env": "",
    "credentials": "",
    "aws/credentials": "",
    "all.sql": "",
    "all.sql.gz": "",
    "service-account.json": "{}",
    "service_account_key.json": "{}",
    "gpg.txt": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
    "putty.txt": "PuTTY-User-Key-File-3: ssh-ed25519\n",
    "lab.js": "const t = 'glpat-" + "aB3_" * 5 + "';",
    "pay.txt": "sk_live_" + "aB3d" * 6,
    "hub.txt": "github_pat_" + "aB3d" * 20,
    "chat.js": "xoxb-1234567890-" + "aB3d" * 6,
    "environment.txt": "FORGE_AUTH_SECRET=" + "0123456789abcdef" * 2,
    "compose.html": "FORGE_ADMIN_TOKEN: '" + "aB3d" * 8 + "'",
    "aws.ini": "aws_secret_access_key = " + "aB3/" * 10,
    "aws.js": '{"AWS_SECRET_ACCESS_KEY": "' + "aB3+" * 10 + '"}',
    "database.txt": "postgres://u:pw@h",
    "worker.js": "connect('postgresql://shop:s3cret@db.internal/shop')",
    "queue.txt": "redis://:s3cret@cache:6379/0",
    "google.txt": "AIza" + "aB3-_" * 7,
    "htpasswd": "",
    "token.txt": "",
    "slack-token.txt": "",
    "api_key.txt": "",
    "kubeconfig": "",
    "prod.kubeconfig": "",
    "terraform.tfstate": "",
    "client_secret_12.json": "{}",
    "accessKeys.csv": "",
    ".envrc": "",
    ".git-credentials": "",
}


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_is_not_given_to_browsers(small: Path, name: str) -> None:
    place = small / "static" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(SECRETS[name])
    with pytest.raises(BuildError, match=f"static/{name} looks like a secret") as caught:
        project_members(small)
    assert caught.value.code == "F343"


SOUNDS_LIKE_ONE = ["chain.pem", "keys.css", "secret-garden.jpg", "environment.js"]
SOUNDS_LIKE_ONE += ["token.js", "design-tokens.json", "api_key.html", "client_secret.svg"]
SOUNDS_LIKE_ONE += ["sql.html", "data.database.svg", "db.js", "credentials.html", "service.json"]


ABOUT_ONE = [
    "const token = document.querySelector('meta[name=csrf-token]').content; fetch(url, {token})",
    "let password = form.password.value, apiKey = null, aws_secret_access_key = '';",
    "// FORGE_AUTH_SECRET=… comes by the environment: FORGE_AUTH_SECRET=$(openssl rand -hex 32)",
    "postgresql://user@host/name postgres://${user}:${password}@host postgres://u:…@h",
    "new URL('https://user:@host/a:b@c'); '@media'; 'http://a:b@c'",
    "firebase.initializeApp({apiKey: 'AIza" + "aB3-_" * 7 + "'})",
]


@pytest.mark.parametrize("text", ABOUT_ONE)
def test_a_script_may_speak_of_secrets(small: Path, text: str) -> None:
    (small / "static" / "page.js").write_text(text)
    assert "static/page.js" in project_members(small)


@pytest.mark.parametrize("name", SOUNDS_LIKE_ONE)
def test_what_only_sounds_like_one_goes_in(small: Path, name: str) -> None:
    words = (
        "-----BEGIN CERTIFICATE-----\nsk_live_... glpat- xoxb-YOUR-TOKEN PGP PRIVATE KEY BLOCK\n"
    )
    (small / "static" / name).write_text(words)
    assert f"static/{name}" in project_members(small)


def test_a_way_out_of_the_project_is_no_source_of_a_stylesheet(small: Path) -> None:
    (small.parent / "out.css").write_text("")
    (small / "forge.toml").write_text('[assets]\ncss = "static/../../out.css"\n')
    with pytest.raises(BuildError) as caught:
        style_sources(read_project(small))
    assert caught.value.code == "F343"
