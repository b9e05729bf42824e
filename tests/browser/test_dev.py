"""`dev` in a real browser: what is wrong comes over the open page, what is saved loads it again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from forge_min import db
from forge_min.testing import TestDatabase

from dev_runner import Dev, command

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]
HOME, ITEMS = "views/home.html", "resources/item/schema.py"
ERRORS = "document.querySelectorAll('#forge-dev article.error').length"
COLOUR = "getComputedStyle(document.querySelector('h1')).color"


@pytest.mark.thorough
def test_an_open_page_follows_what_is_saved(dev: Dev, browse: Callable[..., Any]) -> None:
    link = '<link rel="stylesheet" href="/static/css/app.css">\n</head>'
    dev.save("static/css/app.css", "h1 { color: rgb(1, 2, 3) }")
    dev.save(HOME, lambda text: text.replace("</head>", link))
    dev.shows("/static/css/app.css")
    browser = browse()
    browser.get(f"http://127.0.0.1:{dev.port}/")
    browser.until(f"{COLOUR} === 'rgb(1, 2, 3)'")
    browser.execute_script("window.same = true")

    # Stylesheets change in the page that is open.
    dev.save("static/css/app.css", "h1 { color: rgb(4, 5, 6) }")
    browser.until(f"{COLOUR} === 'rgb(4, 5, 6)'")
    assert browser.execute_script("return window.same")

    # A mistake comes over it, as text, wherever it is; the page below stays.
    dev.save("app.py", lambda text: text + "x = = '<img id=evil src=x>'\n")
    browser.until(f"{ERRORS} === 1")
    said = "document.getElementById('forge-dev').innerText"
    browser.until(f"{said}.includes('SyntaxError') && {said}.includes('<img id=evil')")
    assert browser.execute_script("return window.same && !document.getElementById('evil')")
    box = browser.execute_script(
        "return document.querySelector('#forge-dev article').getBoundingClientRect().height"
    )
    assert box > 20
    position = "getComputedStyle(document.getElementById('forge-dev')).position"
    assert browser.execute_script(f"return {position}") == "fixed"  # the policy lets it be styled

    # The correction loads the page again, without the mistake.
    dev.save("app.py", lambda text: text.rpartition("x = =")[0])
    browser.until(f"{ERRORS} === 0 && !window.same")
    dev.save(HOME, lambda text: re.sub("<h1>.*?</h1>", "<h1>saved</h1>", text))
    browser.until("document.querySelector('h1').textContent === 'saved'")
    assert browser.said == [], "the policy or a script complained"


@pytest.mark.thorough
def test_the_traceback_of_a_failing_request_stays_on_its_page(
    dev: Dev, browse: Callable[..., Any]
) -> None:
    fails = "    rows = missing + items"
    dev.save("app.py", lambda text: text.replace("    rows = items", fails))
    dev.shows("NameError")
    browser = browse()
    browser.get(f"http://127.0.0.1:{dev.port}/")
    text = "document.getElementById('forge-dev').innerText"
    # A later event adds to the traceback and does not replace it.
    dev.save(ITEMS, lambda text: text.replace("schema.bool", "schema.bol"))
    browser.until(f"{text}.includes('schema.bol')")
    assert browser.execute_script(f"return {text}.includes({fails.strip()!r}) && {ERRORS} === 2")
    dev.save(ITEMS, lambda text: text.replace("schema.bol", "schema.bool"))
    browser.until(f"!{text}.includes('schema.bol')")

    # The response to a script is not shown by the browser, so an open page shows its traceback.
    browser.get(f"http://127.0.0.1:{dev.port}/items")
    browser.until("document.querySelector('main h1')")
    assert browser.execute_script(f"return {ERRORS}") == 0
    browser.execute_script("window.asked = setInterval(() => fetch('/'), 100)")  # until it listens
    browser.until(f"{text}.includes({fails.strip()!r})")


@pytest.mark.thorough
def test_a_relation_with_many_targets_is_picked_in_development(
    stopped: Dev, fresh_database: TestDatabase, browse: Callable[..., Any]
) -> None:
    rack = stopped.root.joinpath(ITEMS).read_text().partition("item = ")[0] + (
        'rack = schema.define("Rack", schema.string("name", required=True, filterable=True))\n'
    )
    stopped.save("resources/rack/schema.py", rack)
    relation = '    schema.belongs_to("Rack"),\n    schema.timestamps'
    stopped.save(ITEMS, lambda text: text.replace("    schema.timestamps", relation))
    for words in (["generate"], ["migrate", "diff"]):
        done = command(*words, cwd=stopped.root, **stopped.environ)
        assert done.returncode == 0, done.stderr
    stopped.start()
    stopped.shows("<h1>shop</h1>")
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute("insert into racks (name) select 'Rack ' || n from generate_series(1, 60) n")
    browser = browse()
    browser.get(f"http://127.0.0.1:{stopped.port}/items/new")
    browser.find_element("name", "rack_id.q").send_keys("Rack 42")
    label = "document.querySelector('[name=rack_id][type=radio]:not([value=\"\"])')"
    browser.until(label)
    browser.execute_script(f"{label}.click()")
    picked = "document.querySelector('[name=rack_id]:checked').closest('label').textContent"
    assert browser.execute_script(f"return {picked}") == "Rack 42"
    assert browser.said == []


@pytest.mark.thorough
def test_a_page_that_cannot_be_started_is_there_as_soon_as_it_can(
    stopped: Dev, browse: Callable[..., Any]
) -> None:
    stopped.save(ITEMS, lambda text: text.replace("schema.bool", "schema.bol"))
    stopped.start()
    browser = browse()
    browser.get(f"http://127.0.0.1:{stopped.port}/items")
    browser.until(f"{ERRORS} === 1")
    stopped.save(ITEMS, lambda text: text.replace("schema.bol", "schema.bool"))
    browser.until("document.querySelector('main h1')?.textContent.includes('Items')")
    assert [one for one in browser.said if "503" not in one] == []


@pytest.mark.thorough
def test_tabs_that_nobody_sees_hold_no_connection(dev: Dev, browse: Callable[..., Any]) -> None:
    browser = browse()
    url = f"http://127.0.0.1:{dev.port}/items"
    browser.get(url)
    for _ in range(7):  # a browser allows six connections for each host
        browser.tab(url)
        browser.until("document.querySelector('main')")
    dev.save(HOME, lambda text: text + "\n")
    browser.execute_script("window.same = true")
    dev.save("app.py", lambda text: text + "\n")
    browser.until("!window.same")
