"""The departures board in real browsers: what changes in one is seen in all, whatever breaks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from forge_min import db
from forge_min.db import EmbeddedServer
from forge_min.testing import TestDatabase

from artifact_runner import Site
from round_trips import counting_proxy

pytestmark = [pytest.mark.browser, pytest.mark.db, pytest.mark.slow]

STATE = "document.querySelector('[data-live-status]').dataset.liveState"
GATE = "document.getElementById('flights-' + arguments[0])?.cells[4].textContent === arguments[1]"
# how a page shares the stream → what its browser lacks
WAYS = {
    "worker": "",
    "lock": "delete window.SharedWorker",
    "alone": "delete window.SharedWorker; delete window.BroadcastChannel",
}
CHANGE = """
const [flight, gate, done] = arguments;
const headers = {"Content-Type": "application/json"};
const body = JSON.stringify({gate});
fetch("/api/v1/flights/" + flight, {method: "PATCH", headers, body}).then((a) => done(a.status));
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.thorough
def test_a_change_in_one_board_appears_in_the_other(board: Any, browse: Any, way: str) -> None:
    flight = board.add("FM1")
    one, two = browse(WAYS[way]), browse(WAYS[way])
    for browser in (one, two):
        browser.get(board.url)
        browser.until(f"{STATE} === 'live'")
    assert one.execute_async_script(CHANGE, flight, "B7") == 200
    for browser in (one, two):
        browser.until(GATE, flight, "B7")
    later = board.add("FM2")
    two.until(GATE, later, "–")
    assert board.site.ask("DELETE", f"/api/v1/flights/{later}")[0] == 204
    two.until("!document.getElementById('flights-' + arguments[0])", later)
    assert board.streams() == 2
    assert one.said == [] and two.said == [], "the policy or a script complained"


@pytest.mark.parametrize("way", ["worker", "lock"])
@pytest.mark.thorough
def test_eight_tabs_share_one_stream_and_outlive_one_of_them_and_a_restart(
    board: Any, browse: Any, fresh_database: TestDatabase, tmp_path: Path, way: str
) -> None:
    flight = board.add("FM1")
    browser = browse(WAYS[way])
    browser.get(board.url)
    tabs = [browser.current_window_handle, *(browser.tab(board.url) for _ in range(8))]

    def in_all(script: str, *arguments: object) -> None:
        for tab in tabs:
            browser.switch_to.window(tab)
            browser.until(script, *arguments)

    in_all(f"{STATE} === 'live'")
    board.gate(flight, "A1")
    in_all(GATE, flight, "A1")
    board.eventually(lambda: board.streams() == 1)
    browser.switch_to.window(tabs.pop(0))  # the first of them, which leads where a lock decides
    browser.close()
    board.gate(flight, "A1b")
    in_all(GATE, flight, "A1b")
    board.eventually(lambda: board.streams() == 1)
    assert board.process.stop() == 0
    in_all(f"{STATE} === 'connecting'")
    (tmp_path / "other").mkdir()
    other = Site(board.site.artifact, fresh_database, tmp_path / "other")
    process = other.serve("--no-jobs")
    assert other.ask("PATCH", f"/api/v1/flights/{flight}", {"gate": "A2"})[0] == 200
    assert process.stop() == 0
    board.process = board.site.serve("--no-jobs")
    in_all(f"{STATE} === 'live'")
    in_all(GATE, flight, "A2")
    board.gate(flight, "A3")
    in_all(GATE, flight, "A3")
    board.eventually(lambda: board.streams() == 1)


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["worker", "lock"])
def test_tabs_say_that_the_database_is_lost_and_catch_up(
    new_board: Any, site: Site, browse: Any, fresh_database: TestDatabase, way: str
) -> None:
    with counting_proxy(fresh_database.app_url) as proxy:
        site.environ["FORGE_DATABASE_URL"] = proxy.url
        board = new_board(site)
        flight = board.add("FM1")
        browser = browse(WAYS[way])
        browser.get(f"{board.url}flights")
        tabs = [browser.current_window_handle, browser.tab(f"{board.url}flights")]

        def in_all(script: str) -> None:
            for tab in tabs:
                browser.switch_to.window(tab)
                browser.until(script)

        banner = "document.querySelector('[data-live-status]')"
        in_all(f"{STATE} === 'live' && !{banner}.textContent")
        with proxy.held():
            in_all(f"{STATE} === 'reconnecting' && {banner}.textContent.startsWith('Reconnecting')")
            in_all(f"{banner}.checkVisibility() && {banner}.getAttribute('role') === 'status'")
            with db.connect(fresh_database.app_url) as conn:
                conn.execute("update flights set gate = 'Z9' where id = %s", [flight])
        in_all(f"{STATE} === 'live' && !{banner}.textContent")
        in_all("document.querySelector('main').textContent.includes('Z9')")
        assert board.process.stop() == 0
        in_all(f"{STATE} === 'connecting' && {banner}.textContent.startsWith('Reconnecting')")


@pytest.mark.thorough
def test_every_numbered_commit_arrives_or_a_refresh_does_while_listen_is_cut(
    board: Any, browse: Any, server: EmbeddedServer, fresh_database: TestDatabase
) -> None:
    flight = board.add("FM1")
    browser = browse()
    browser.get(board.url)
    browser.until(f"{STATE} === 'live'")
    browser.execute_script("""
      window.seen = []; window.refreshed = 0;
      const source = new EventSource("/events?topic=flights");
      source.addEventListener("flight.updated", (e) => seen.push(JSON.parse(e.data).version));
      source.addEventListener("refresh", () => refreshed++);
      source.addEventListener("open", () => (window.opened = true));
    """)
    browser.until("window.opened")
    cut = """
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = %s and query ilike 'select e.topic%%'
    """
    cuts = 0
    with db.connect(server.admin_url) as admin:
        for number in range(1, 121):
            board.gate(flight, f"N{number}")
            if number % 15 == 0:
                cuts += len(admin.execute(cut, [fresh_database.name]).fetchall())
                time.sleep(0.1)
    assert cuts >= 3
    browser.until(GATE, flight, "N120")
    browser.until("seen.includes(121) || refreshed > 0")
    seen = browser.execute_script("return seen")
    refreshed = browser.execute_script("return refreshed")
    assert seen == sorted(set(seen)), "an event came twice or out of order"
    assert refreshed or seen == list(range(2, 122))
    assert "tries again soon" in board.process.log


@pytest.mark.thorough
def test_a_stream_is_given_back_while_nobody_looks_and_all_tabs_catch_up(
    board: Any, browse: Any
) -> None:
    flight = board.add("FM1")
    browser = browse("Object.defineProperty(document, 'hidden', {get: () => window.away});")
    browser.get(board.url)
    tabs = [browser.current_window_handle, browser.tab(board.url)]

    def turn(tab: str, away: bool, state: str) -> None:
        browser.switch_to.window(tab)
        browser.execute_script(
            "window.away = arguments[0]; document.dispatchEvent(new Event('visibilitychange'))",
            away,
        )
        browser.until(f"{STATE} === arguments[0]", state)

    for tab in tabs:
        turn(tab, False, "live")
    board.gate(flight, "B1")
    browser.until(GATE, flight, "B1")
    turn(tabs[0], True, "live")  # one is still seen
    turn(tabs[1], True, "paused")
    board.eventually(lambda: board.streams() == 0)
    board.gate(flight, "B2")
    turn(tabs[1], False, "live")
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.until(GATE, flight, "B2")


@pytest.mark.thorough
def test_a_topic_that_is_refused_costs_the_other_tabs_nothing(board: Any, browse: Any) -> None:
    flight = board.add("FM1")
    browser = browse()
    browser.get(board.url)
    browser.until(f"{STATE} === 'live'")
    ask = """
      const mine = window.states = [];  // of this port: the others are told of the new stream
      const {port} = new SharedWorker("/static/forge/stream.js", "forge-live-1");
      port.onmessage = ({data}) => data.state && mine.push(data.state);
      port.postMessage({url: location.origin + "/events?format=html&topic=" + arguments[0]});
    """
    browser.execute_script(ask, "airports")
    browser.until("states.at(-1) === 'live'")
    assert board.streams() == 1, "another topic did not join the stream"
    browser.execute_script(ask, "nothing")
    browser.until("states.at(-1) === 'closed'")
    browser.until(f"{STATE} === 'live'")
    board.gate(flight, "C1")
    browser.until(GATE, flight, "C1")


@pytest.mark.thorough
def test_the_jobs_page_shows_what_happens_without_being_loaded_again(
    board: Any, browse: Any
) -> None:
    browser = browse()
    browser.get(f"http://127.0.0.1:{board.site.admin}/jobs")
    browser.until("document.querySelector('[data-status]').textContent === 'live'")
    with db.connect(board.site.environ["FORGE_DATABASE_URL"]) as conn:
        conn.execute("insert into forge_job (kind) values ('Later')")
        browser.until("document.querySelector('.note').textContent.includes('Later')")
        conn.execute("insert into forge_queue (name, paused_at) values ('mail', now())")
    browser.until("document.querySelector('.state.paused') !== null")
    # A form works without a script of ours.
    browser.execute_script("document.querySelector('form[action*=resume] button').click()")
    browser.until("document.querySelector('main') && !document.querySelector('.state.paused')")
    assert browser.said == [], "the policy or a script complained"
