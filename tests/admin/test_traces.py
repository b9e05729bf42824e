"""/debug/traces: what ended last, for a terminal, a browser and a program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from forge_min import observe
from forge_min.observe import Telemetry, span


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = observe.setup("shop")
    yield made
    made.shutdown()


def request(n: int, text: str = "select 1") -> None:
    with span(f"GET /x{n}", kind="server", attributes={"http.response.status_code": 200}):
        with span("SELECT", attributes={"db.query.text": text}):
            pass


def test_each_reader_gets_them_in_its_own_form(telemetry: Telemetry, desk_of: Any) -> None:
    desk = desk_of()
    for n in range(3):
        request(n)
    text = desk.ask("/debug/traces").text
    assert re.findall(r"GET /x\d", text) == ["GET /x2", "GET /x1", "GET /x0"], "the newest first"
    assert "select 1" in text
    page = desk.ask("/debug/traces", Accept="text/html,*/*;q=0.8")
    assert page.headers["content-type"].startswith("text/html") and "GET /x1" in page.text
    assert page.text.count("<rect") == page.text.count("</rect>") == 6  # nothing is void in SVG
    assert "<details" in page.text and "<script" not in page.text and "style=" not in page.text
    rows = json.loads(desk.ask("/debug/traces", Accept="application/json").text)
    assert [row["branches"][1]["attributes"]["db.query.text"] for row in rows] == ["select 1"] * 3
    assert re.fullmatch(r"[0-9a-f]{32}", rows[0]["trace_id"])


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "application/json"])
def test_without_any_it_says_so(desk_of: Any, accept: str) -> None:
    told = desk_of().ask("/debug/traces", Accept=accept)
    assert told.status == 200
    assert "otlp_endpoint" in told.text or json.loads(told.text) == []


def test_what_a_client_sent_is_text_on_the_page(telemetry: Telemetry, desk_of: Any) -> None:
    with (
        pytest.raises(ValueError),
        span("<b>x</b>", attributes={"url.path": '"><script>1</script>'}),
    ):
        raise ValueError("<img src=x>")
    page = desk_of().ask("/debug/traces", Accept="text/html").text
    assert "<b>x" not in page and "<script>1" not in page and "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_it_is_behind_the_token(telemetry: Telemetry, desk_of: Any) -> None:
    desk = desk_of(token="t" * 20)
    request(1)
    assert desk.ask("/debug/traces").status == 401
    assert "GET /x1" in desk.ask("/debug/traces", Authorization="Bearer " + "t" * 20).text


def test_no_more_are_shown_than_a_page_holds(telemetry: Telemetry, desk_of: Any) -> None:
    for n in range(500):
        request(n, "select " + "x" * 10_000)
    told = desk_of().ask("/debug/traces", Accept="application/json")
    assert len(json.loads(told.text)) == 50
