"""live.js and stream.js against a server that says what no application of ours would, or when it
is worst: the browser is real, the stream is the test's.
"""

from __future__ import annotations

import http.server
import queue
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = """<!doctype html><title>t</title><body data-live="/events?topic={topic}">
<p data-live-status></p><div id="region" data-live-region><b id="value">{value}</b></div>
<script src="/live.js"></script><script src="/page.js"></script></body>"""
OURS = """
window.heard = [];
forge.live.on("t.updated", (data, id) => {
  heard.push([data.text, id]);
  document.getElementById("value").textContent = data.text;
  return true;
});
"""
STATE = "document.querySelector('[data-live-status]').dataset.liveState"


class Scripted(http.server.ThreadingHTTPServer):
    """Pages, and streams that send what the test puts in. refuse: the status of /events, or 0."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.refuse = 0
        self.private = "nothing"  # a topic for which somebody must be signed in
        self.pages = 0
        self.value = "1"
        self.asked: list[tuple[str, str | None]] = []  # (query, Last-Event-ID) of each stream
        self.streams: list[queue.Queue[bytes | None]] = []
        self.before_page: list[Any] = []  # called once, when a page is made but not yet sent

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def send(self, text: str | None) -> None:
        """To every stream; None ends them."""
        for stream in self.streams:
            stream.put(None if text is None else text.encode())
        if text is None:
            self.streams = []


class Answer(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Scripted

    def log_message(self, *words: object) -> None:
        """Not to stderr."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/events":
            return self.stream(query)
        if path in ("/live.js", "/stream.js"):
            asset = files("forge_min.html") / "assets" / path[1:]
            return self.answer("text/javascript", asset.read_bytes())
        if path == "/page.js":
            return self.answer("text/javascript", OURS.encode())
        self.server.pages += 1
        page = PAGE.format(topic=path[1:] or "a", value=self.server.value)
        if self.server.before_page:
            self.server.before_page.pop()()
        return self.answer("text/html", page.encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, query: str) -> None:
        private = f"topic={self.server.private}" in query
        status = 401 if private else self.server.refuse or 200
        mine: queue.Queue[bytes | None] = queue.Queue()
        if status == 200:  # before it counts as asked: whoever sees that may send at once
            self.server.streams.append(mine)
        self.server.asked.append((query, self.headers["Last-Event-ID"]))
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if status != 200:
            return
        try:
            self.wfile.write(b"retry: 50\n: heartbeat 15\n\n")
            while (text := mine.get()) is not None:
                self.wfile.write(text)
        except OSError:
            pass


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.send(None)
    server.shutdown()
    thread.join()
    server.server_close()


def event(text: str, id: str) -> str:
    return f'event: t.updated\nid: {id}\ndata: {{"text":"{text}"}}\n\n'


def test_text_of_an_event_stays_text(scripted: Scripted, browse: Any) -> None:
    browser = browse()
    browser.get(scripted.url)
    browser.until(f"{STATE} === 'live'")
    evil = "x\u2028event: close\u2029id: 9.9\u2028retry: 99999999\u0085data: expired\v\f: y"
    scripted.send(event(evil.replace("\v", "").replace("\f", ""), "5.1"))
    scripted.send(event("next", "5.2"))
    browser.until("heard.length === 2")
    assert browser.execute_script("return heard[0][0]").startswith("x\u2028event: close\u2029id")
    scripted.send(None)
    deadline = time.monotonic() + 10
    while len(scripted.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert scripted.asked[1:] == [("topic=a", "5.2")], "the id or the pause came out of the data"
    lines = "data: elements <b id='value'>one\u2028mode remove</b>\n"
    deadline = time.monotonic() + 10
    shown = "return document.getElementById('value').textContent.startsWith('one')"
    while not browser.execute_script(shown):
        assert time.monotonic() < deadline
        # Once more: the page, which is read anew after the loss, does not have it.
        scripted.send(f"event: datastar-patch-elements\nid: 5.3\n{lines}\n")
        time.sleep(0.2)


@pytest.mark.thorough
def test_what_comes_while_the_page_is_read_is_not_undone(scripted: Scripted, browse: Any) -> None:
    browser = browse()
    browser.get(scripted.url)
    browser.until(f"{STATE} === 'live'")
    time.sleep(0.5)  # the first reading is over

    def change() -> None:
        scripted.value = "2"
        scripted.send(event("2", "1.2"))
        time.sleep(0.5)

    scripted.before_page.append(change)
    scripted.send('event: refresh\ndata: {"reason":"overflow","missed":1}\n\n')
    browser.until("heard.length === 1")
    time.sleep(1.0)  # the old page has arrived
    browser.until("document.getElementById('value').textContent === '2'")


@pytest.mark.thorough
def test_events_that_are_taken_cause_no_reading(scripted: Scripted, browse: Any) -> None:
    browser = browse()
    browser.get(scripted.url)
    browser.until(f"{STATE} === 'live'")
    scripted.send('event: refresh\ndata: {"reason":"overflow","missed":1}\n\n')
    scripted.before_page.append(lambda: time.sleep(0.5))
    for number in range(100):
        scripted.send(event(str(number), f"1.{number}"))
        time.sleep(0.02)
    browser.until("heard.length === 100")
    browser.until("document.getElementById('value').textContent === '99'")
    assert scripted.pages <= 3, "a reading kept itself going"


def test_a_private_topic_costs_a_public_one_nothing(scripted: Scripted, browse: Any) -> None:
    scripted.private = "b"
    browser = browse()
    browser.get(scripted.url + "/a")
    browser.until(f"{STATE} === 'live'")
    public = browser.current_window_handle
    browser.tab(scripted.url + "/b")
    browser.until(f"{STATE} === 'closed'")
    browser.switch_to.window(public)
    browser.until(f"{STATE} === 'live'")
    scripted.send(event("public", "3.1"))
    browser.until("heard.length === 1")


@pytest.mark.thorough
def test_tabs_share_one_stream_again_after_somebody_signed_out_and_in(
    scripted: Scripted, browse: Any
) -> None:
    browser = browse()
    browser.get(scripted.url + "/a")
    tabs = [browser.current_window_handle]
    tabs += [browser.tab(f"{scripted.url}/{name}") for name in "bc"]
    browser.until(f"{STATE} === 'live'")
    scripted.refuse = 401
    scripted.send(None)  # a restart; it finds nobody signed in
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.until(f"{STATE} === 'closed'")
    scripted.refuse = 0
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.refresh()
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.until(f"{STATE} === 'live'")
    assert scripted.asked[-1][0].count("topic=") == 3, "not all tabs are on one stream"
    scripted.send(event("all", "7.1"))
    for tab in tabs:
        browser.switch_to.window(tab)
        browser.until("heard.length === 1")
