"""`dev` in a real browser: what is wrong comes over the open page, what is saved loads it again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dev_runner import Dev

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]
HOME = "views/home.html"
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
def test_a_page_that_cannot_be_started_is_there_as_soon_as_it_can(
    stopped: Dev, browse: Callable[..., Any]
) -> None:
    stopped.save("resources/item/schema.py", lambda text: text.replace("schema.bool", "schema.bol"))
    stopped.start()
    browser = browse()
    browser.get(f"http://127.0.0.1:{stopped.port}/items")
    browser.until(f"{ERRORS} === 1")
    stopped.save("resources/item/schema.py", lambda text: text.replace("schema.bol", "schema.bool"))
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
