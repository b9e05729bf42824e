"""Every word that a page says of itself is one that gen/messages.pot gives to translators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import pytest
from forge_min.app import Runtime
from forge_min.testing import Client, TestDatabase, running_app

from catalogues import catalogues, msgids

pytestmark = pytest.mark.db
SAYING = {"placeholder", "aria-label", "title", "alt"}  # attributes that people read or hear
ROLES = {"member", "manager", "admin", "editor", "owner"}
OWN = {  # docstrings and names of tests/wide/app.py and jobs.py, which `generate` does not read
    "Back to the free plan, by who may close.",
    "Close",
    "The job inserted after_create of Document.",
    "The job inserted after_create of Order.",
    "The job inserted after_update of Order.",
}
READER = {
    "X-Test-User": "ann",
    "X-Test-Roles": "member,manager,admin",
    "Accept-Language": "de",
}


class Said(HTMLParser):
    """The texts of a page, but for those of scripts, styles and what people wrote."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = [""]
        self.attributes: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.attributes += [value for name, value in attrs if name in SAYING and value]

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style", "textarea", "code", "pre"):
            if self.texts[-1].count("⟦") > self.texts[-1].count("⟧"):
                self.texts[-1] += data  # a sentence with tags in it
            else:
                self.texts.append(data)


@pytest.fixture
def translated(wide_code: Path, wide_database: TestDatabase, tmp_path: Path) -> Iterator[Runtime]:
    """The started project in a language in which every known message stands in brackets."""
    template = (wide_code / "gen" / "messages.pot").read_text("utf-8")
    with running_app(wide_database) as running:
        marked = {message: f"⟦{message}⟧" for message in msgids(template) if message}
        with catalogues(tmp_path, {"de": marked}):
            yield running


def untranslated(page: str) -> set[str]:
    """Texts of a page outside the brackets, which may stand in each other."""
    found = set()
    said = Said(page)
    for text in said.texts + said.attributes:
        while (inner := re.sub(r"⟦[^⟦⟧]*⟧", "", text)) != text:
            text = inner
        if re.search(r"[^\W\d_]{2}", text):
            found.add(" ".join(text.split()))
    return found


def test_no_page_says_a_word_that_no_catalogue_can_translate(translated: Runtime) -> None:
    client, reader = Client(translated), READER | {"X-Test-Tenant": str(uuid4())}
    for path, row in (
        ("classes", {"code": "QQ", "class": "zzqq"}),
        ("tags", {"name": "zzqq"}),
        ("accounts", {"slug": "zzqq", "name": "zzqq", "notes": "zzqq"}),
    ):
        answer = client.post(f"/api/v1/{path}", json=row, headers=reader)
        assert answer.status == 201, answer.json
    key = answer.json["id"]
    html = reader | {"Accept": "text/html"}
    places = re.findall(r'<li><a href="(/[\w-]+)"', client.get("/", headers=html).text)
    paths = ["/", *(place + end for place in places for end in ("", "/new"))]
    paths += [f"/accounts/{key}{end}" for end in ("", "/edit", "/delete")]
    paths += ["/account/sign-in", "/account/forgot", "/-/help"]
    paths += ["/-/reports", "/-/reports/per_account", "/-/reports/per_status"]
    assert len(paths) > 15, paths
    for path in paths:
        page = client.get(path, headers=html)
        assert page.status == 200 and "⟦" in page.text, path
        left = {text for text in untranslated(page.text) if "zzqq" not in text}
        assert left <= {"wide", "· wide", "QQ", "ann", key, *ROLES, *OWN}, (path, left)
