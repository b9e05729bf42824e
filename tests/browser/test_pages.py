"""The resource pages in a real browser: with scripts they are live and need no reload; no rule of
accessibility is broken, light and dark, on a phone and on a desk.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]

AXE = "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
FOUND = "[...document.querySelectorAll('.choice')].some(e => e.textContent.includes(arguments[0]))"
SCREENS = {"desk": (1200, 900), "phone": (390, 844)}


def field(browser: Any, name: str) -> Any:
    return browser.find_element(By.NAME, name)


def choose(browser: Any, name: str, words: str) -> None:
    """Pick a relation's target by typing."""
    if browser.find_elements(By.NAME, name + ".q"):
        field(browser, name + ".q").send_keys(words)
        browser.until(FOUND, words)
        for label in browser.find_elements(By.CSS_SELECTOR, ".choice"):
            if words in label.text:
                label.click()
                return
    field(browser, name).send_keys(words)


def violations(browser: Any) -> list[str]:
    """What axe-core finds, as sentences."""
    browser.execute_script((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script(AXE)["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.thorough
def test_no_page_breaks_a_rule_of_accessibility(board: Any, browse: Callable[..., Any]) -> None:
    flight = board.add("LH 1")
    status, _, _ = board.site.ask("PATCH", f"/api/v1/flights/{flight}", {"gate": "A 1"})
    assert status == 200
    paths = [
        "", "flights", "flights?status=scheduled", "flights/new", f"flights/{flight}", "nowhere",
        f"flights/{flight}/edit", f"flights/{flight}/delete", "airports?q=nothing", "api/docs",
        "airports?nonsense=1",
    ]  # fmt: skip
    browser, wrong = browse(), []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        for screen, (width, height) in SCREENS.items():
            browser.set_window_size(width, height)
            for path in paths:
                browser.get(board.url + path)
                wrong += [f"{scheme} {screen} /{path} {one}" for one in violations(browser)]
            browser.get(board.url + "flights/new")
            browser.find_element(By.CSS_SELECTOR, "form.form").submit()
            browser.until("document.getElementById('problems')")
            wrong += [f"{scheme} {screen} refused {one}" for one in violations(browser)]
    assert wrong == []


@pytest.mark.thorough
def test_a_long_json_value_fits_a_phone_and_needs_no_scrolling(
    board: Any, browse: Callable[..., Any]
) -> None:
    flight, browser = board.add("LH 2"), browse()
    for width, height in SCREENS.values():
        browser.set_window_size(width, height)
        browser.get(f"{board.url}flights/{flight}")
        # As a field of type json is shown, which no resource of the board has.
        browser.execute_script(
            "const pre = document.createElement('pre');"
            "pre.textContent = JSON.stringify({a: 'x'.repeat(500)}, null, 2);"
            "document.querySelector('.facts dd').replaceChildren(pre);"
        )
        assert violations(browser) == []
        root = "document.documentElement"
        assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")


@pytest.mark.thorough
def test_a_form_is_sent_without_a_reload_and_says_what_is_wrong(
    board: Any, browse: Callable[..., Any]
) -> None:
    browser = browse()
    browser.get(board.url + "flights/new")
    browser.execute_script("window.same = true")
    field(browser, "number").send_keys("LH 1" + Keys.ENTER)
    browser.until("document.activeElement.id === 'problems'")
    assert browser.execute_script("return window.same")
    assert field(browser, "number").get_attribute("value") == "LH 1"
    for name, words in (("origin_id", "Airport EDDF"), ("destination_id", "Airport EDDM")):
        choose(browser, name, words)
    for name, hour in (("departs_at", "10"), ("arrives_at", "11")):
        script = "document.getElementsByName(arguments[0])[0].value = arguments[1]"
        browser.execute_script(script, name, f"2030-01-01T{hour}:00")
    browser.find_element(By.XPATH, "//form//p/button[text()='Save']").click()
    browser.until("document.body.textContent.includes('Created.')")
    assert "?_done=" in browser.current_url
    assert [one for one in browser.said if "422" not in one] == []


@pytest.mark.thorough
def test_of_many_rows_one_is_found_while_typing_and_with_the_keyboard_alone(
    board: Any, browse: Callable[..., Any]
) -> None:
    country = json.loads(board.site.ask("GET", "/api/v1/countries")[2])["data"][0]["id"]
    for n in range(60):
        body = {"icao": f"X{n:03}", "name": f"Field {n}", "country_id": country}
        board.site.create("airports", body | {"latitude": "1", "longitude": "1"})
    browser = browse()
    browser.get(board.url + "flights/new")
    search = field(browser, "origin_id.q")
    search.send_keys("Field 42")
    browser.until("document.querySelector('.choices [name=origin_id]')")
    search.send_keys(Keys.ENTER)  # which saves nothing
    browser.until("document.querySelectorAll('.choices [name=origin_id]').length === 1")
    search.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    picked = "document.querySelector('[name=origin_id]:checked')?.closest('label').textContent"
    assert browser.until(picked) == "Field 42"
    search.clear()
    search.send_keys("nothing like this")
    browser.until("document.querySelector('[data-pick] [role=status]').textContent === ''")
    assert browser.execute_script(f"return {picked}") == "Field 42", "what was chosen stays"
    assert browser.current_url.endswith("/flights/new")


@pytest.mark.thorough
def test_a_list_changes_while_one_looks_at_it(board: Any, browse: Callable[..., Any]) -> None:
    browser = browse()
    browser.get(board.url + "flights?sort=number")
    browser.until("document.querySelector('[data-live-state=live]')")
    flight = board.add("LH 9")
    browser.until("document.querySelector('table')?.textContent.includes('LH 9')")
    board.gate(flight, "C 33")
    browser.until("document.querySelector('table').textContent.includes('C 33')")
    assert board.site.ask("DELETE", f"/api/v1/flights/{flight}")[0] == 204
    browser.until("document.querySelector('.empty')")


@pytest.mark.thorough
def test_a_list_that_changes_takes_neither_focus_nor_place_away(
    board: Any, browse: Callable[..., Any]
) -> None:
    browser = browse()
    browser.set_window_size(700, 800)
    flights = [board.add(f"LH {number}") for number in range(3)]
    browser.get(board.url + "flights?sort=number")
    browser.until("document.querySelector('[data-live-state=live]')")
    browser.execute_script(
        "document.querySelector('.scroll').scrollLeft = 40;"
        f"document.getElementById('flights-{flights[1]}').querySelectorAll('a')[0]"
        ".focus({ preventScroll: true })"
    )
    board.gate(flights[2], "C 33")
    browser.until("document.querySelector('table').textContent.includes('C 33')")
    assert browser.execute_script(
        "return [document.activeElement.closest('tr').id,"
        " document.querySelector('.scroll').scrollLeft]"
    ) == [f"flights-{flights[1]}", 40]


@pytest.mark.thorough
def test_a_list_is_asked_anew_without_a_reload(board: Any, browse: Callable[..., Any]) -> None:
    board.add("LH 1")
    browser = browse()
    browser.get(board.url + "airports")
    browser.execute_script("window.same = true")
    field(browser, "q").send_keys("EDDM" + Keys.ENTER)
    browser.until("!document.querySelector('table')?.textContent.includes('EDDF')")
    assert "q=EDDM" in browser.current_url and browser.execute_script("return window.same")
    assert browser.said == []


def test_every_page_works_without_scripts_in_a_browser(
    board: Any, browse: Callable[..., Any]
) -> None:
    browser = browse()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(board.url + "flights/new")
    field(browser, "number").send_keys("LH 77" + Keys.ENTER)
    # Without scripts there are none of ours either, to ask with.
    found = WebDriverWait(browser, 20).until(lambda b: b.find_elements(By.ID, "problems"))
    assert found[0].is_displayed()
    assert field(browser, "number").get_attribute("value") == "LH 77"
