"""A real Datastar client on a page that opted in: it speaks the stream's wire format as it is."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from forge_min.testing import TestDatabase

from artifact_runner import EXAMPLE, Site
from building import build

pytestmark = [pytest.mark.browser, pytest.mark.db, pytest.mark.slow]

GATE = "document.getElementById('flights-' + arguments[0])?.cells[4].textContent === arguments[1]"
PAGE = """

@app.page("/{name}"{option})
def show_{name}(request: Request, flights: FlightActions) -> str:
    from gen.pages import datastar

    return datastar.render(flights=Raw(_lines(flights, flights.list(flights.query({{}})).rows)))
"""


@pytest.fixture
def pages(fresh_database: TestDatabase, tmp_path: Path) -> Any:
    """The example with two more pages: one may evaluate, one may not."""
    root = tmp_path / "departures"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("dist", "gen", "__pycache__"))
    board = (root / "views" / "board.html").read_text()
    live = '<body data-live="/events?topic=flights&amp;format=html">'
    assert live in board and "live.js" in board
    init = "@get('/events?topic=flights&amp;format=html')"
    board = board.replace(live, f'<body data-init="{init}">')
    script = '<script src="/static/forge/live.js" defer></script>'
    board = board.replace(script, '<script type="module" src="/static/datastar.js"></script>')
    (root / "views" / "datastar.html").write_text(board)
    wheel = distribution("starhtml")
    shutil.copy(
        str(wheel.locate_file("starhtml/static/js/datastar-core.js")),
        root / "static" / "datastar.js",
    )
    with (root / "app.py").open("a") as app:
        app.write(PAGE.format(name="datastar", option=", unsafe_eval=True"))
        app.write(PAGE.format(name="strict", option=""))
    site = Site(build(root, output=tmp_path / "dist.pyz").path, fresh_database, tmp_path)
    try:
        yield site
    finally:
        site.stop()


@pytest.mark.thorough
def test_datastar_shows_the_same_changes(pages: Site, new_board: Any, browse: Any) -> None:
    board, browser = new_board(pages), browse()
    flight = board.add("FM1")
    browser.get(board.url + "datastar")
    board.eventually(lambda: board.streams() == 1)
    board.gate(flight, "D4")
    browser.until(GATE, flight, "D4")
    added = board.add("FM2")
    browser.until(GATE, added, "–")
    assert pages.ask("DELETE", f"/api/v1/flights/{added}")[0] == 204
    browser.until("!document.getElementById('flights-' + arguments[0])", added)
    assert browser.said == []


@pytest.mark.thorough
def test_without_the_option_a_page_evaluates_nothing(
    pages: Site, new_board: Any, browse: Any
) -> None:
    board, browser = new_board(pages), browse()
    browser.get(board.url + "strict")
    browser.until("document.readyState === 'complete'")
    board.eventually(lambda: "unsafe-eval" in str(browser.said))
    assert board.streams() == 0
    for path, policy in (("datastar", True), ("strict", False), ("", False)):
        headers = pages.ask("GET", f"/{path}")[1]
        assert ("unsafe-eval" in headers["content-security-policy"]) is policy
