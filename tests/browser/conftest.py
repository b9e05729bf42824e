"""A real browser: Debian's chromium with its driver. Skipped where they are missing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from artifact_runner import Site

DEADLINE = 30.0  # seconds
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--window-size=1200,900",
)  # fmt: skip
Open = Callable[..., "Browser"]


class Browser(Chrome):
    """One browser, with the waiting that a live page needs."""

    before = ""  # JavaScript that every page runs first

    def tab(self, url: str) -> str:
        """Open `url` in another tab; its handle."""
        self.switch_to.new_window("tab")
        self.prepare()
        self.get(url)
        return self.current_window_handle

    def prepare(self) -> None:
        """Make this tab's pages run `before`: a browser keeps that by tab."""
        if self.before:
            command = "Page.addScriptToEvaluateOnNewDocument"
            self.execute_cdp_cmd(command, {"source": self.before})

    def until(self, script: str, *arguments: object) -> object:
        """What a JavaScript expression gives, once it is true."""
        end = time.monotonic() + DEADLINE
        while not (value := self.execute_script(f"return {script}", *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"{script} did not come true\n{self.page_source}\n{self.said}")
            time.sleep(0.05)
        return value

    @property
    def said(self) -> list[str]:
        """What the browser complained about since the last look."""
        return [entry["message"] for entry in self.get_log("browser")]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Open]:
    """Starts browsers that know nothing of each other. before: JavaScript run in every page
    first. scripts: whether pages may run JavaScript.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium or no chromedriver (Debian: chromium, chromium-driver)")
    with ExitStack() as stack:

        def start(before: str = "", *, scripts: bool = True) -> Browser:
            folder = tmp_path / f"browser{len(list(tmp_path.iterdir()))}"
            options = ChromeOptions()
            options.binary_location = program
            if not scripts:
                off = {"profile.managed_default_content_settings.javascript": 2}
                options.add_experimental_option("prefs", off)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            for flag in (*FLAGS, f"--user-data-dir={folder}"):
                options.add_argument(flag)
            environ = os.environ | {"HOME": str(folder)}  # it leaves nothing in anybody's
            browser = Browser(options, ChromeService(driver, env=environ))
            stack.callback(browser.quit)
            browser.before = before
            browser.prepare()
            return browser

        yield start


class Board:
    """Flights of the example, written over its API."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.process = site.serve("--no-jobs")
        country = site.create("countries", {"code": "DE", "name": "Germany"})
        self.ends = [
            site.create(
                "airports",
                {"icao": icao, "name": f"Airport {icao}", "country_id": country["id"],
                 "latitude": "50", "longitude": "8", "elevation": 300, "time_zone": "UTC"},
            )["id"]
            for icao in ("EDDF", "EDDM")
        ]  # fmt: skip

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.site.port}/"

    def add(self, number: str) -> str:
        """A flight; its id."""
        body = {
            "number": number,
            "origin_id": self.ends[0],
            "destination_id": self.ends[1],
            "departs_at": "2030-01-01T10:00:00Z",
            "arrives_at": "2030-01-01T11:00:00Z",
        }
        return str(self.site.create("flights", body)["id"])

    def gate(self, flight: str, gate: str) -> None:
        """Change a flight's gate."""
        status, _, answer = self.site.ask("PATCH", f"/api/v1/flights/{flight}", {"gate": gate})
        assert status == 200, answer

    def streams(self) -> int:
        """Streams that are open, as the metrics say."""
        _, _, text = self.site.ask("GET", "/metrics", port=self.site.admin)
        (line,) = [x for x in text.decode().splitlines() if x.startswith("forge_sse_connections ")]
        return int(float(line.split()[1]))

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Until it holds; fails at the deadline."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture
def new_board() -> Callable[[Site], Board]:
    """Serves a site; it has two airports then."""
    return Board


@pytest.fixture
def board(site: Site) -> Board:
    """The served example with two airports."""
    return Board(site)
