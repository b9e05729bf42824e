"""Takes the pictures of README.md and of the manual from the examples: `make pictures`.

python tools/pictures.py FOLDER

Needs chromium with its driver, and the ports of the example (8000 and 9090).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--window-size=1100,760",
)
SETTLED = 3.0  # seconds until a page shows what has changed since it was loaded


# Pages of examples/permits in the manual: name → path below /t/north/. {row}: of an application.
TOUR = {
    "start": "",
    "list-phone": "applications",
    "row": "applications/{row}",
    "form": "applications/{row}/edit",
    "filters": "applications?status%5Bin%5D=submitted,draft&_columns=number&_columns=begins_on",
    "states": "applications/-/states",
    "report": "-/reports/per_month",
    "people": "-/people",
    "account": "account",
    "help": "-/help",
}


def main() -> None:
    """Start the examples, open their pages, and save what a user sees."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, take in (("departures", take_departures), ("permits", take_permits)):
        command = [sys.executable, str(ROOT / "examples" / name / "run.py")]
        with tempfile.TemporaryDirectory(prefix="forge-pictures-") as state:
            command += ["--state", state]
            example = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                words = started(example)
                options = ChromeOptions()
                for flag in FLAGS:
                    options.add_argument(flag)
                with Chrome(options) as browser:
                    take(browser, folder, words)
            finally:
                example.terminate()
                example.wait(60)


def started(example: subprocess.Popen[str]) -> dict[str, str]:
    """Return what the example prints once it is ready: the first word of a line → the rest."""
    words: dict[str, str] = {}
    assert example.stdout is not None
    for line in example.stdout:
        name, _, rest = line.strip().partition(" ")
        words.setdefault(name, rest.strip())
        if line.startswith("Ctrl+C"):
            return words
    raise SystemExit("the example did not start; see its output: make run")


def take_departures(browser: Chrome, folder: Path, words: dict[str, str]) -> None:
    """Save board.png, list.png, record.png and jobs.png."""
    site, admin = (host(words[name]) for name in ("board", "admin"))
    browser.get(f"{site}/flights")
    record = browser.find_element("css selector", "tbody a").get_attribute("href")
    pages = {"board": f"{site}/", "list": f"{site}/flights", "record": record}
    for name, url in {**pages, "jobs": f"{admin}/jobs"}.items():
        save(browser, folder, name, str(url))


def take_permits(browser: Chrome, folder: Path, words: dict[str, str]) -> None:
    """Save tour-<name>.png of each page in TOUR, as a user who administers an office."""
    site = f"{host(words['API'])}/t/north/"
    browser.get(f"{site}account/sign-in")
    browser.find_element("id", "email").send_keys("olga@permits.example")
    browser.find_element("id", "password").send_keys(words["password"] + "\n")
    time.sleep(SETTLED)
    browser.get(f"{site}applications")
    row = str(browser.find_element("css selector", "tbody a").get_attribute("href"))
    for name, path in TOUR.items():
        width = 390 if name.endswith("-phone") else 1100
        browser.set_window_size(width, 760)
        url = site + path.format(row=row.rpartition("/")[2])
        save(browser, folder, f"tour-{name}", url)


def host(text: str) -> str:
    """Return the scheme and host of the first URL in a text."""
    match = re.search(r"http://[^/]+", text)
    assert match is not None, text
    return match[0]


def save(browser: Chrome, folder: Path, name: str, url: str) -> None:
    """Open a page, and save it when it has settled."""
    browser.get(url)
    time.sleep(SETTLED)
    browser.save_screenshot(str(folder / f"{name}.png"))


if __name__ == "__main__":
    main()
