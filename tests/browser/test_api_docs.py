"""The API page in a browser: requests are tried, and shown as curl; none leaves this site."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]
AXE = "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"


def operation(browser: Any, method: str, path: str) -> Any:
    """The opened part of the page."""
    css = f'details[data-method="{method}"][data-path="{path}"]'
    details = browser.find_element(By.CSS_SELECTOR, css)
    details.find_element(By.TAG_NAME, "summary").click()
    browser.until("document.querySelector(arguments[0] + ' form')", css)
    return details


def answer(browser: Any, details: Any) -> tuple[str, Any]:
    """Send the request; the first line of the answer, and its JSON."""
    details.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    shown = details.find_element(By.CSS_SELECTOR, "pre[role=status]")
    browser.until("arguments[0].textContent", shown)
    status, _, body = shown.text.partition("\n")
    return status, json.loads(body)


@pytest.mark.thorough
def test_requests_are_tried_on_the_page_and_as_curl(board: Any, browse: Callable[..., Any]) -> None:
    board.add("LH 1")
    browser = browse()
    browser.get(f"{board.url}api/docs")
    browser.until("document.querySelector('input[type=search]')")
    details = operation(browser, "GET", "/api/v1/flights")
    details.find_element(By.XPATH, ".//label[starts-with(., 'limit')]/input").send_keys("1")
    status, body = answer(browser, details)
    assert status.startswith("200") and body["data"][0]["number"] == "LH 1"
    command = details.find_element(By.CSS_SELECTOR, "form pre").text.replace("\\\n", " ")
    done = subprocess.run(
        [*shlex.split(command), "-s"], capture_output=True, text=True, check=True, timeout=20
    )
    assert json.loads(done.stdout)["data"] == body["data"]

    details = operation(browser, "POST", "/api/v1/countries")
    text = details.find_element(By.TAG_NAME, "textarea")
    text.clear()
    text.send_keys('{"code": "FR", "name": "L\'Hexagone"}')
    status, body = answer(browser, details)
    assert status.startswith("201") and body["name"] == "L'Hexagone"
    assert "L'\\''Hexagone" in details.find_element(By.CSS_SELECTOR, "form pre").text
    # An unknown key is rejected, although the browser might have a session.
    browser.find_element(By.CSS_SELECTOR, "input[type=password]").send_keys("fmk_unknown")
    details = operation(browser, "GET", "/api/v1/airports")
    assert answer(browser, details)[0].startswith("401")
    assert "fmk_unknown" not in browser.find_element(By.TAG_NAME, "main").text

    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("airports" + Keys.TAB)
    shown = browser.find_elements(By.CSS_SELECTOR, "details[data-path]")
    visible = {one.get_attribute("data-path") for one in shown if one.is_displayed()}
    assert visible and all("airport" in path for path in visible)
    browser.get("about:blank")
    browser.get(f"{board.url}api/docs#schema-Flight")
    browser.until("document.getElementById('schema-Flight')?.open")
    browser.execute_script((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    operation(browser, "GET", "/api/v1/flights")
    assert browser.execute_async_script(AXE)["violations"] == []
    script = "performance.getEntriesByType('resource').map(e => new URL(e.name).origin)"
    assert set(browser.execute_script(f"return {script}")) == {board.url.rstrip("/")}


def test_without_scripts_the_page_lists_the_operations(
    board: Any, browse: Callable[..., Any]
) -> None:
    browser = browse(scripts=False)
    browser.get(f"{board.url}api/docs")
    details = browser.find_element(By.CSS_SELECTOR, 'details[data-path="/api/v1/flights"]')
    details.find_element(By.TAG_NAME, "summary").click()
    assert "limit" in details.text and "Responses" in details.text
