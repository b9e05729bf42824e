"""Static files of an artifact: their hash in the addresses of pages, and a gzip made once."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import read_members
from forge_min.ship import BuildResult
from forge_min.ship.artifact.assets import prepare_assets
from forge_min.wsgi import Request, Response, StaticFiles

SHEET = b"body { color: red }\n" * 100
PAGE = (
    b"""'<link href="/static/css/a.css"><script src="{root}/static/forge/live.js">"""
    b"""<a href="/static/css/a.css.map"><a href="https://x.invalid/static/css/a.css">"""
    b"""<img src="/static/b.png?v=1"><img src="/static/nowhere.png">'"""
)
MEMBERS = {
    "static/css/a.css": SHEET,
    "static/b.png": bytes(range(256)),
    "static/LICENSE": b"free",
    "forge_min/html/assets/live.js": b"// live\n" * 200,
    "gen/pages/home.py": PAGE,
    "app.py": b"open('static/css/a.css'); path = '/static/css/a.css'",
}


def get(files: StaticFiles, path: str, **headers: str) -> Response:
    """The answer to a GET."""
    request = Request({"REQUEST_METHOD": "GET", **{f"HTTP_{k}": v for k, v in headers.items()}})
    request.params = {"path": path}
    return files(request)


def test_pages_name_files_by_their_hash_and_nothing_else_changes() -> None:
    made = prepare_assets(MEMBERS)
    page = made["gen/pages/home.py"].decode()
    assert re.search(r'"/static/css/a\.[0-9a-f]{12}\.css"', page)
    assert re.search(r'"{root}/static/forge/live\.[0-9a-f]{12}\.js"', page)
    assert re.search(r'"/static/b\.[0-9a-f]{12}\.png\?v=1"', page)
    assert "/static/css/a.css.map" in page and "x.invalid/static/css/a.css" in page
    assert '"/static/nowhere.png"' in page
    assert {n: d for n, d in made.items() if n in MEMBERS and n != "gen/pages/home.py"} == {
        name: data for name, data in MEMBERS.items() if name != "gen/pages/home.py"
    }


def test_another_content_has_another_address() -> None:
    other = prepare_assets({**MEMBERS, "static/css/a.css": SHEET + b"\n"})
    assert other["gen/pages/home.py"] != prepare_assets(MEMBERS)["gen/pages/home.py"]


def test_what_gets_smaller_is_there_as_gzip_too() -> None:
    made = prepare_assets(MEMBERS)
    packed = {name for name in made if name.endswith(".gz")}
    assert packed == {"static/css/a.css.gz", "forge_min/html/assets/live.js.gz"}
    assert gzip.decompress(made["static/css/a.css.gz"]) == SHEET
    assert prepare_assets(MEMBERS) == made


def test_a_gzip_of_the_projects_own_stays() -> None:
    own = gzip.compress(SHEET, 1)
    assert prepare_assets({**MEMBERS, "static/css/a.css.gz": own})["static/css/a.css.gz"] == own


def put(folder: Path, members: dict[str, bytes]) -> StaticFiles:
    """The static files among the members, served."""
    for name, data in members.items():
        if name.startswith("static/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return StaticFiles(folder / "static")


@pytest.fixture
def served(tmp_path: Path) -> StaticFiles:
    """The prepared files."""
    return put(tmp_path, prepare_assets(MEMBERS))


def test_the_address_of_a_page_is_kept_for_long(served: StaticFiles) -> None:
    page = prepare_assets(MEMBERS)["gen/pages/home.py"].decode()
    for path in re.findall(r"\"/static/((?:css/a|b)\.[0-9a-f]{12}\.\w+)", page):
        answer = get(served, path)
        assert answer.status == 200
        assert answer.header("Cache-Control") == "public, max-age=31536000, immutable"
    assert answer.header("Content-Type") == "image/png" and answer.body == MEMBERS["static/b.png"]


@pytest.mark.parametrize("path", ["css/a.css", "css/a.0123456789ab.css"])
def test_a_plain_name_and_an_old_hash_are_asked_for_each_time(
    served: StaticFiles, path: str
) -> None:
    answer = get(served, path)
    assert (answer.status, answer.body) == (200, SHEET)
    assert answer.header("Content-Type") == "text/css; charset=utf-8"
    assert answer.header("Cache-Control") == "no-cache"


@pytest.mark.parametrize("own", [b"", b"\x1f\x8b", gzip.compress(b"older", mtime=0), b"no gzip"])
def test_a_gzip_that_holds_something_else_would_go_out_in_its_place(own: bytes) -> None:
    with pytest.raises(BuildError, match=r"static/css/a\.css\.gz would be sent") as caught:
        prepare_assets({**MEMBERS, "static/css/a.css.gz": own})
    assert caught.value.code == "F343"


@pytest.mark.parametrize("taken", ["gzip", "br, gzip;q=0.5", "*"])
def test_gzip_goes_to_who_takes_it(served: StaticFiles, taken: str) -> None:
    answer = get(served, "css/a.css", ACCEPT_ENCODING=taken)
    assert isinstance(answer.body, bytes) and gzip.decompress(answer.body) == SHEET
    assert answer.header("Content-Encoding") == "gzip"
    assert answer.header("Vary") == "Accept-Encoding"
    assert answer.header("Content-Type") == "text/css; charset=utf-8"


@pytest.mark.parametrize("taken", ["", "br", "gzip;q=0", "identity"])
def test_and_to_nobody_else(served: StaticFiles, taken: str) -> None:
    answer = get(served, "css/a.css", ACCEPT_ENCODING=taken)
    assert answer.body == SHEET and answer.header("Content-Encoding") is None
    assert answer.header("Vary") == "Accept-Encoding"  # a cache must not mix them up


def test_each_coding_has_its_own_tag(served: StaticFiles) -> None:
    plain, packed = (get(served, "css/a.css", ACCEPT_ENCODING=a) for a in ("", "gzip"))
    assert plain.header("ETag") != packed.header("ETag")
    tag = packed.header("ETag") or ""
    again = get(served, "css/a.css", ACCEPT_ENCODING="gzip", IF_NONE_MATCH=tag)
    assert (again.status, again.body, again.header("ETag")) == (304, b"", tag)
    assert get(served, "css/a.css", IF_NONE_MATCH=tag).status == 200


@pytest.mark.slow
@pytest.mark.thorough
def test_every_page_of_an_artifact_names_what_is_kept(built: BuildResult, tmp_path: Path) -> None:
    members = read_members(built.path)
    board = members["gen/pages/board.py"].decode()
    (path,) = re.findall(r"/static/(css/board[.\w]*)", board)
    assert "immutable" in str(get(put(tmp_path, members), path).header("Cache-Control"))
    ours = re.compile(rb"/static/forge/(?:live|forms|forge)\.[0-9a-f]{12}\.(?:js|css)")
    for name, count in (("html/templates/layout.py", 1), ("html/layout.py", 2)):
        assert len(ours.findall(members[f"forge_min/{name}"])) == count
    assert {"static/css/board.css", "forge_min/html/assets/forge.css.gz"} <= members.keys()
