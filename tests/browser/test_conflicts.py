"""Two people edit one row: what both changed is a choice on the page, with scripts or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forge_min.auth import Identity
from forge_min.testing import TestDatabase
from forge_min.wsgi import Server
from selenium.webdriver.common.by import By

from browser.test_pages import violations
from notes import LINKS, Notebook, notebook

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def book(fresh_database: TestDatabase) -> Iterator[Notebook]:
    """A notebook on a real socket; `url` is its address."""
    with notebook(fresh_database) as made:
        made.labels("l0", "l1", "l2")
        made.person = Identity("ann", frozenset(["editor"]))
        server = Server(("127.0.0.1", 0), made.apps["all"])
        server.start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.stop(timeout=2.0)


def the(browser: Any, selector: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, selector)


def save(browser: Any) -> None:
    the(browser, ".buttons button").click()


def write(browser: Any, name: str, words: str) -> None:
    the(browser, f"[name={name}]").clear()
    the(browser, f"[name={name}]").send_keys(words)


@pytest.mark.parametrize("scripts", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_conflict_is_decided_on_the_page(
    book: Notebook, browse: Callable[..., Any], scripts: bool
) -> None:
    note = book.note(title="one", body="a\nb", kind="memo", label_slugs=["l0", "l1"])
    browser = browse(scripts=scripts)
    browser.implicitly_wait(20)
    browser.get(f"{book.url}{note}/edit")
    book.change(note, body="their\n  note", price="7")
    book.change(note, flag=False)
    book.link(note, "l2")
    write(browser, "body", "my note")
    write(browser, "title", "new title")
    the(browser, f"[name={LINKS}][value=l0]").click()
    save(browser)
    assert "differs from the saved value" in the(browser, "#problems").text
    assert the(browser, ".conflict").text.splitlines() == [
        "Which value of Body?",
        "The saved value: their",
        "  note",
        "My value, as entered above",
    ]
    assert the(browser, "[name=body]").get_attribute("value") == "my note"
    assert the(browser, "[name=price]").get_attribute("value") == "7.00"
    assert not the(browser, "[name=flag][type=checkbox]").is_selected()
    if scripts:
        assert violations(browser) == []
    the(browser, "[name='body.choice'][value=mine]").click()
    save(browser)
    assert browser.find_element(By.XPATH, "//p[text()='Saved.']")
    row = book.row(note)
    assert (row["body"], row["title"], row["price"]) == ("my note", "new title", 7)
    assert row["flag"] is False and row[LINKS] == ["l1", "l2"]
