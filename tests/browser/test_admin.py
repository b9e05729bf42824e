"""The overview of the admin server in a real browser: live, readable, without complaints."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.db]
AXE = "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"


@pytest.mark.thorough
def test_the_overview_is_live_and_breaks_no_rule(board: Any, browse: Callable[..., Any]) -> None:
    browser, start = browse(), f"http://127.0.0.1:{board.site.admin}"
    wrong = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for width in (1200, 400):
            browser.set_window_size(width, 900)
            for path in ("/", "/debug/pprof/", "/debug/traces"):
                browser.get(start + path)
                axe = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
                browser.execute_script(axe)
                found = browser.execute_async_script(AXE)["violations"]
                wrong += [f"{path} {scheme}: {one['id']}: {one['nodes']}" for one in found]
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= browser.execute_script("return innerWidth"), "it fits"
    assert wrong == []
    browser.get(start)
    browser.until("document.querySelector('[data-ready]').textContent === 'ready'")
    browser.execute_script("window.kept = true")
    facts = "document.querySelector('.summary').textContent"
    before = browser.execute_script(f"return {facts}")  # with the time since the start
    browser.until(f"{facts} !== arguments[0] && window.kept", before)
    log = [entry["message"] for entry in browser.get_log("browser")]
    assert log == [], "nothing is missing, not even an icon, and no policy complained"
