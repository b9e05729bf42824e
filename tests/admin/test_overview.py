"""The pages of the admin server itself: what they show, and that they are good HTML."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

HOSTILE = "<script>alert(1)</script>\" ' &"
PAGES = ("/", "/debug/pprof/", "/sign-in")


def test_the_overview_says_what_runs_and_every_link_of_it_leads_somewhere(desk_of: Any) -> None:
    desk = desk_of(project="shop & co", alive=lambda: {"version": HOSTILE, "commit": "f" * 40})
    page = desk.ask("/")
    assert page.status == 200 and "shop &amp; co" in page.text
    assert "&lt;script&gt;" in page.text and "<script>" not in page.text
    assert re.search(r"<li>up <b>0:00:\d\d</b></li>", page.text)
    assert "f" * 12 in page.text and "f" * 13 not in page.text
    links = set(re.findall(r'(?:href|src)="([^"]+)"', page.text))
    assert {"/metrics", "/healthz", "/readyz", "/jobs", "/debug/pprof/"} <= links
    for link in links - {"/jobs"}:  # which has no application here
        assert desk.ask(link).status in (200, 303), link
    assert desk.ask("/", "HEAD").headers["content-length"] == str(len(page.body))


def test_the_overview_works_without_scripts_and_has_none_of_its_own(desk_of: Any) -> None:
    desk = desk_of(token="t")
    for path in PAGES:
        page = desk.ask(path, Authorization="Bearer t")
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.text)
        assert "//" not in re.sub(r"<!doctype.*?>", "", page.text).replace("http://www.w3", "")
    page = desk.ask("/", Authorization="Bearer t")
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in page.text


def test_an_independent_checker_finds_nothing(desk_of: Any) -> None:
    program = shutil.which("tidy")
    if program is None:
        pytest.skip("no tidy (Debian: tidy)")
    desk = desk_of(token="t", project=HOSTILE)
    for path in PAGES:
        page = desk.ask(path, Authorization="Bearer t")
        command = [program, "-q", "-e", "--drop-empty-elements", "no", "--show-info", "no", "-utf8"]
        done = subprocess.run(command, input=page.body, capture_output=True)
        assert done.stderr.decode() == "", path


def test_the_icon_is_one(desk_of: Any) -> None:
    told = desk_of().ask("/favicon.ico")
    assert told.status == 200 and told.headers["content-type"] == "image/svg+xml"
