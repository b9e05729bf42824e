"""A browser itself says where the URLs of pages with hostile values lead."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from pages.helpers import page
from pages.urls import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STARTS = (
    "", "/", "//", "\\", "/\\", "/\t", "\t/", "/\x01", "\x01/", "\xa0/", "https:", "https://",
    "https:///", "https://\xa0/", "http:", "http", "/a/", "a", ".", "//evil.example",
    "\\\\evil.example", "/\n/evil.example", "https:evil.example", "http:/evil.example",
    "javascript:", "\xa0javascript:",
)  # fmt: skip
HERE = "http://here.example"
WHOLE = re.compile(r"https?://[^/\\?#\x00-\x20]")
# The scheme and host of each first link, as the address of a page at HERE; "" where it is no URL.
READ = """
return arguments[0].map(html => {
  const link = new DOMParser().parseFromString(html, 'text/html').querySelector('a');
  try {
    const url = new URL(link.getAttribute('href'), arguments[1]);
    return url.protocol + '//' + url.host;
  } catch { return ''; }
});
"""


@pytest.mark.thorough
def test_a_browser_stays_on_the_host(browse: Callable[..., Any]) -> None:
    values = list(itertools.product(STARTS, ("/evil.example", "\t/evil.example", "\\evil.example")))
    cases = [(source, x, y) for source in PAGES for x, y in values]
    shown = [page(source)(x=x, y=y, z=y) for source, x, y in cases]
    browser = browse()
    browser.get("about:blank")
    for base in (HERE, HERE.replace("http:", "https:")):
        found = browser.execute_script(READ, shown, base + "/a/b")
        astray = [
            (case, place)
            for case, place in zip(cases, found, strict=True)
            if place not in ("", base) and not WHOLE.match(case[1])
        ]
        assert astray == []
        assert base in found
