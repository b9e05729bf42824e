"""The rendered manual works without a network: links, search, appearance, size."""

from __future__ import annotations

import io
import re
import tarfile
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from admin_server import new_server
from browser.conftest import Open, browse
from browser.test_admin import AXE

__all__ = ["browse"]
DOCS = Path(__file__).parents[2] / "docs"
MOST_BYTES = 1_500_000  # compressed


class Page(HTMLParser):
    """What a page refers to: ids, links, and the files that a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a":
            self.links.append(values.get("href", ""))
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(values["href"])
        elif values.get("src"):
            self.loads.append(values["src"])


@pytest.fixture(scope="module")
def pages(manual: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in manual.rglob("*.html")}


def test_every_page_of_the_folder_is_rendered(manual: Path) -> None:
    written = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    rendered = {path.relative_to(manual) for path in manual.rglob("*.html")}
    assert rendered == written | {Path("search.html")}


def test_no_link_is_dead(pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for link in page.links:
            target, fragment = urldefrag(link)
            if not urlsplit(target).scheme:
                found = (path.parent / unquote(target)).resolve() if target else path
                ids = pages[found].ids if found in pages else {""}
                if not found.is_file() or unquote(fragment) not in {"", *ids}:
                    dead.append((path.name, link))
    assert not dead


def test_nothing_is_loaded_from_another_host(manual: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for name in page.loads:
            assert (path.parent / urlsplit(name).path).is_file(), (path, name)
    for path in manual.rglob("*.css"):
        for name in re.findall(r"url\(['\"]?([^)'\"]+)", path.read_text(encoding="utf-8")):
            assert name.startswith(("data:", "#")) or (path.parent / name).is_file(), (path, name)


def test_every_page_is_within_three_clicks(manual: Path, pages: dict[Path, Page]) -> None:
    reached = {manual / "index.html"}
    for _ in range(3):
        for path in list(reached):
            links = (urldefrag(link)[0] for link in pages[path].links)
            found = {(path.parent / link).resolve() for link in links if link}
            reached |= found & pages.keys()
    assert {p for p in pages if p.name != "search.html"} <= reached


def test_the_manual_is_small(manual: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(manual)
    assert packed.tell() <= MOST_BYTES


@pytest.mark.browser
@pytest.mark.slow
def test_search_works_from_files(manual: Path, browse: Open) -> None:
    browser = browse()
    browser.get((manual / "index.html").as_uri())
    box = browser.find_element("css selector", ".sidebar-search")
    box.send_keys("pg_restore")
    box.submit()
    hit = browser.until("document.querySelector('ul.search li a[href*=\"operate/backup\"]')")
    hit.click()
    arrived = "location.pathname.endsWith('operate/backup.html') && document.title"
    assert "Back up" in str(browser.until(arrived))
    assert browser.said == []


@pytest.mark.browser
@pytest.mark.slow
def test_the_manual_is_dark_where_the_system_is(manual: Path, browse: Open) -> None:
    browser = browse()
    background = "getComputedStyle(document.body).backgroundColor"
    colors = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get((manual / "index.html").as_uri())
        colors.append(str(browser.execute_script(f"return {background}")))
    light, dark = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors)
    assert light > 600 and dark < 150


@pytest.mark.browser
@pytest.mark.thorough
def test_every_page_is_accessible_and_breaks_no_policy(browse: Open) -> None:
    server = new_server()
    server.start()
    try:
        browser = browse()
        for page in sorted(DOCS.rglob("*.md")):
            name = page.relative_to(DOCS).with_suffix(".html").as_posix()
            browser.get(f"http://127.0.0.1:{server.port}/docs/{name}")
            browser.execute_script((files("axe_playwright_python") / "axe.min.js").read_text())
            found = browser.execute_async_script(AXE)["violations"]
            nodes = [(one["id"], node["html"]) for one in found for node in one["nodes"]]
            assert nodes == [], name
        assert browser.said == []
    finally:
        server.stop()
