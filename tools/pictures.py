"""Takes the pictures of README.md from examples/departures: `make pictures`.

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
EXAMPLE = ROOT / "examples" / "departures" / "run.py"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1100,760")
SETTLED = 3.0  # seconds until a page shows what has changed since it was loaded


def main() -> None:
    """Start the example, open its pages, and save what a user sees."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="forge-pictures-") as state:
        example = subprocess.Popen(
            [sys.executable, str(EXAMPLE), "--state", state], stdout=subprocess.PIPE, text=True
        )
        try:
            take(folder, *addresses(example))
        finally:
            example.terminate()
            example.wait(60)


def addresses(example: subprocess.Popen[str]) -> tuple[str, str]:
    """Return the addresses that the example prints: of the site, and of its admin server."""
    found: dict[str, str] = {}
    assert example.stdout is not None
    for line in example.stdout:
        if match := re.match(r"(board|admin) +(http://[^/]+)", line):
            found[match[1]] = match[2]
        if line.startswith("Ctrl+C"):
            return found["board"], found["admin"]
    raise SystemExit("the example did not start; see its output: make run")


def take(folder: Path, site: str, admin: str) -> None:
    """Save board.png, list.png, record.png and jobs.png."""
    options = ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    with Chrome(options) as browser:
        browser.get(f"{site}/flights")
        record = browser.find_element("css selector", "tbody a").get_attribute("href")
        pages = {
            "board": f"{site}/",
            "list": f"{site}/flights",
            "record": record,
            "jobs": f"{admin}/jobs",
        }
        for name, url in pages.items():
            browser.get(str(url))
            time.sleep(SETTLED)
            browser.save_screenshot(str(folder / f"{name}.png"))


if __name__ == "__main__":
    main()
