"""A new project with sign-in, from `init` to a browser: nothing is edited, nothing is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from artifact_runner import Process, free_port
from person import Person

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]
AXE = "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"


class Shop:
    """The served project; its admin's password; where it answers."""

    def __init__(self, folder: Path) -> None:
        made = self.run(folder, "init", "shop", "--auth", "--json")
        assert made.returncode == 0, made.stderr
        self.password = json.loads(made.stdout)["admin"]["password"]
        self.port, root = free_port(), folder / "shop"
        environ = os.environ | {"FORGE_SERVER_PORT": str(self.port), "FORGE_ADMIN_PORT": "0"}
        command = [sys.executable, "-m", "forge_min", "--project", str(root), "serve"]
        self.process = Process(command, environ, folder / "log")
        self.process.wait_for(self.answers, "an answer")

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "forge_min", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)

    def answers(self) -> bool:
        try:
            return Person(self.port).get("/items").status == 200
        except OSError:
            return False


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    try:
        yield made
    finally:
        assert made.process.stop() == 0


@pytest.mark.thorough
def test_the_admin_of_a_new_project_signs_in_and_adds_what_nobody_else_may(
    shop: Shop, browse: Callable[..., Any]
) -> None:
    stranger = Person(shop.port)
    assert "New" not in stranger.get("/items").links
    stranger.get("/items/new")
    assert stranger.at.startswith("/account/sign-in?next=")
    browser, wrong = browse(), []
    base = f"http://127.0.0.1:{shop.port}"

    def look() -> None:
        browser.execute_script((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            found = browser.execute_async_script(AXE)["violations"]
            wrong.extend(f"{browser.current_url} {one['id']} {one['nodes']}" for one in found)

    browser.get(base + "/items/new")
    browser.find_element(By.ID, "email").send_keys("admin@example.com")
    browser.find_element(By.ID, "password").send_keys("not the password" + Keys.ENTER)
    browser.until("document.getElementById('problems')")
    look()
    browser.find_element(By.ID, "password").send_keys(shop.password + Keys.ENTER)
    browser.until("location.pathname === '/items/new'")
    browser.find_element(By.NAME, "title").send_keys("Hello" + Keys.ENTER)
    browser.until("document.body.textContent.includes('Created.')")
    look()
    assert "Hello" in stranger.get("/").text and "Hello" in stranger.get("/items").links
    for path in ("/account", "/account/password", "/-/keys", "/-/people/new", "/-/people"):
        browser.get(base + path)
        look()
    browser.find_element(By.LINK_TEXT, "admin@example.com").click()
    for summary in browser.find_elements(By.CSS_SELECTOR, "main summary"):
        summary.click()
    look()
    assert wrong == []
    browser.find_element(By.XPATH, "//header//form//button").click()
    browser.until("location.pathname === '/'")
    assert browser.get_cookie("forge_session") is None
    assert [one for one in browser.said if "401" not in one] == []


def test_the_curl_of_its_readme_creates_an_item(shop: Shop, tmp_path: Path) -> None:
    readme = (tmp_path / "shop" / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith(("    KEY=", "    curl "))]
    script = "\n".join(lines).replace(":8000/", f":{shop.port}/")
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu"], input=script, cwd=tmp_path / "shop", env=os.environ | {"PATH": python},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout)["title"] == "Hello", done.stdout + done.stderr
    assert "Hello" in Person(shop.port).get("/").text


@pytest.mark.thorough
def test_long_words_fit_a_phone_or_are_scrolled_with_the_keyboard(
    shop: Shop, browse: Callable[..., Any]
) -> None:
    browser, base = browse(), f"http://127.0.0.1:{shop.port}"
    screen = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(base + "/items/new")
    browser.find_element(By.ID, "email").send_keys("admin@example.com")
    browser.find_element(By.ID, "password").send_keys(shop.password + Keys.ENTER)
    browser.until("location.pathname === '/items/new'")
    browser.find_element(By.NAME, "title").send_keys("W" * 120 + Keys.ENTER)
    browser.until("document.body.textContent.includes('Created.')")
    row = str(browser.execute_script("return location.pathname"))
    browser.get(base + "/items/new")
    # As what a relation leads to is chosen, which no resource of the project has.
    browser.execute_script(
        "document.querySelector('.field').innerHTML = '<div class=choices><label class=choice>'"
        " + '<input type=radio><span>' + 'W'.repeat(120) + '</span></label></div>'"
    )
    box = "document.querySelector('.choices')"
    assert browser.execute_script(f"return {box}.scrollWidth <= {box}.clientWidth")
    rows = ("/", "/items", "/items?_filters=1", row, f"{row}/edit", f"{row}/delete")
    for path in (*rows, "/account", "/-/people", "/api/docs", f"/items?{'z' * 300}=1"):
        browser.get(base + path)
        browser.execute_script(
            "const name = document.querySelector('.account a');"
            "if (name) name.textContent = 'anna.lives.at@' + 'd'.repeat(60) + '.example';"
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, path
        browser.execute_script((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
        assert browser.execute_async_script(AXE)["violations"] == [], path
    browser.get(base + "/items")
    browser.execute_script(
        "document.querySelector('[name=key]').checked = true;"
        "document.querySelector('button[value=delete]').click();"
    )
    browser.until("document.querySelector('.outcomes')")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def test_a_notice_after_a_form_is_shown_once(shop: Shop, browse: Callable[..., Any]) -> None:
    browser, base = browse(), f"http://127.0.0.1:{shop.port}"
    browser.get(base + "/-/people/new")
    browser.find_element(By.ID, "email").send_keys("admin@example.com")
    browser.find_element(By.ID, "password").send_keys(shop.password + Keys.ENTER)
    browser.until("location.pathname === '/-/people/new'")
    browser.find_element(By.ID, "email").send_keys("nina@example.com" + Keys.ENTER)
    notice = "document.body.textContent.includes('An invitation was sent to nina@example.com.')"
    browser.until(notice)
    browser.get(browser.current_url)
    assert not browser.execute_script(f"return {notice}")


def test_a_page_warns_before_an_idle_session_ends(
    tmp_path: Path, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all tabs; a request of one of them hides the notice, and entries stay."""
    monkeypatch.setenv("FORGE_AUTH_IDLE_TIMEOUT", "8s")
    shop, browser = Shop(tmp_path), browse()
    shown = "!document.querySelector('.idle').hidden"
    try:
        browser.get(f"http://127.0.0.1:{shop.port}/items/new")
        browser.find_element(By.ID, "email").send_keys("admin@example.com")
        browser.find_element(By.ID, "password").send_keys(shop.password + Keys.ENTER)
        browser.until("document.querySelector('[name=title]')")
        browser.find_element(By.NAME, "title").send_keys("A text")
        browser.until(shown)
        browser.find_element(By.CSS_SELECTOR, ".idle a").click()
        browser.until("document.querySelector('.idle').hidden")
        browser.until(f"{shown} && document.querySelector('.idle a').hidden")
        notice = browser.find_element(By.CSS_SELECTOR, ".idle").text
        assert notice.startswith("You were signed out.")
        assert browser.find_element(By.NAME, "title").get_attribute("value") == "A text"
    finally:
        assert shop.process.stop() == 0


@pytest.mark.parametrize("scripts", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_form_keeps_its_entries_when_the_session_ends(
    shop: Shop, browse: Callable[..., Any], scripts: bool
) -> None:
    browser, base = browse(scripts=scripts), f"http://127.0.0.1:{shop.port}"
    title = f'A long text with "quotes" & <tags>, {"with" if scripts else "without"} scripts'

    def sign_in() -> None:
        browser.find_element(By.ID, "email").send_keys("admin@example.com")
        browser.find_element(By.ID, "password").send_keys(shop.password + Keys.ENTER)

    def submit() -> None:
        browser.find_element(By.CSS_SELECTOR, "main .buttons button").click()

    browser.get(base + "/items/new")
    sign_in()
    browser.until("location.pathname === '/items/new'")
    for number in (1, 2):  # a new row, then a change of it
        browser.find_element(By.NAME, "title").send_keys(title if number == 1 else "!")
        browser.delete_cookie("forge_session")
        submit()
        browser.until("document.querySelector('#problems')?.textContent.includes('are kept')")
        sign_in()
        browser.until("document.body.textContent.includes('Nothing of it is saved yet.')")
        submit()
        browser.until("document.querySelector('main h1').textContent.startsWith('A long text')")
        browser.get(browser.current_url.partition("?")[0] + "/edit")
    value = browser.find_element(By.NAME, "title").get_attribute("value")
    assert value == title + "!"
