"""Whoever walks through a page with the Tab key sees where they are, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]

# What of an element's looks can show the focus.
LOOK = """
window.look = e => {
  const s = getComputedStyle(e);
  const shown = parseFloat(s.outlineWidth) > 0 && s.outlineStyle !== 'none';
  return JSON.stringify([
    shown && s.outlineColor !== 'rgba(0, 0, 0, 0)' ? s.outline : '', s.boxShadow, s.clipPath,
    s.borderColor, s.borderWidth, s.backgroundColor, s.color, s.textDecoration,
  ]);
};
"""
# The elements that Tab reaches, numbered, each with its look while nothing has the focus.
PREPARE = """
document.activeElement.blur();
window.rest = new Map();
document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')
  .forEach(e => window.rest.set(e, window.look(e)));
"""
# [name, whether it looks different now, whether it is on the screen]; null when nothing has it.
FOCUSED = """
const e = document.activeElement;
if (!e || e === document.body) return null;
const box = e.getBoundingClientRect();
const name = e.outerHTML.slice(0, 120);
return [name, window.rest.get(e) !== window.look(e), box.width > 1 && box.height > 1];
"""


def walk(browser: Any) -> list[tuple[str, bool, bool]]:
    """Every stop of the Tab key, until it leaves the page or comes round."""
    browser.execute_script(LOOK + PREPARE)
    stops: list[tuple[str, bool, bool]] = []
    for _ in range(150):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        stop = browser.execute_script(FOCUSED)
        if stop is None or (stops and stop[0] == stops[0][0]):
            return stops
        stops.append(tuple(stop))
    raise AssertionError(f"the Tab key never leaves: {stops[-1]}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.thorough
def test_every_stop_of_the_tab_key_is_seen(
    board: Any, browse: Callable[..., Any], scheme: str
) -> None:
    board.add("LH 1")
    browser = browse()
    media = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    for path in ("flights", "flights/new"):
        browser.get(board.url + path)
        stops = walk(browser)
        assert len(stops) > 7, stops
        assert [stop for stop in stops if not (stop[1] and stop[2])] == []


@pytest.mark.thorough
def test_a_stop_that_is_not_seen_is_found(board: Any, browse: Callable[..., Any]) -> None:
    browser = browse()
    browser.get(board.url + "flights")
    browser.execute_script(
        "const s = new CSSStyleSheet(); s.replaceSync('.top a:focus { outline: 0 }');"
        "document.adoptedStyleSheets = [s]"
    )
    assert [stop for stop in walk(browser) if not stop[1]]
