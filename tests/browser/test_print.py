"""Lists and records on A4, printed by a browser: repeated headings, no cut rows, no buttons."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from pypdf import PdfReader

pytestmark = [pytest.mark.db, pytest.mark.browser, pytest.mark.slow, pytest.mark.thorough]
A4 = (595, 842)  # points


def printed(browser: Any) -> list[str]:
    """The text of each page."""
    options = {"preferCSSPageSize": True, "printBackground": False}
    done = browser.execute_cdp_cmd("Page.printToPDF", options)
    pages = PdfReader(io.BytesIO(base64.b64decode(done["data"]))).pages
    for page in pages:
        assert (round(page.mediabox.width), round(page.mediabox.height)) == A4
    return [" ".join(page.extract_text().split()) for page in pages]


def test_a_list_repeats_its_headings_and_cuts_no_row(
    board: Any, browse: Callable[..., Any]
) -> None:
    numbers = [f"LH {n}" for n in range(1000, 1090)]
    for number in numbers:
        id = board.add(number)
        gate = {"gate": f"A {number[-2:]}"}
        assert board.site.ask("PATCH", f"/api/v1/flights/{id}", gate)[0] == 200
    browser = browse()
    browser.get(f"{board.url}flights?limit=100")
    pages = printed(browser)
    assert len(pages) > 1
    for page in pages:
        assert "Number" in page and "Gate" in page, "the headings of the columns"
        assert not [word for word in ("New", "Filter", "Columns", "Next", "CSV") if word in page]
    for number in numbers:
        row = f"{number} Airport EDDF Airport EDDM scheduled A {number[-2:]} 2030-01-01 10:00"
        assert sum(row in page for page in pages) == 1, f"the row of {number} is cut"


def test_a_record_is_printed_without_buttons(board: Any, browse: Callable[..., Any]) -> None:
    flight = board.add("LH 1")
    browser = browse()
    browser.get(f"{board.url}flights/{flight}")
    (page,) = printed(browser)
    assert "LH 1" in page and "EDDF" in page
    assert not [word for word in ("Edit", "Delete", "Menu", "Skip") if word in page]
