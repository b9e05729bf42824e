"""Who may ask the admin server: names, other sites, tokens and guesses."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATHS = ("/", "/metrics", "/healthz", "/readyz", "/debug/pprof/threads", "/jobs", "/favicon.ico")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil.example",
     "1270.0.0.1", "127.0.0.1:80:90", "a@127.0.0.1", "[evil]"],
)  # fmt: skip
def test_a_name_that_another_could_give_to_this_machine_is_refused(
    desk_of: Any, path: str, host: str
) -> None:
    told = desk_of().ask(path, Host=host)
    assert told.status in (400, 403) and b"up 1" not in told.body and b"1.2" not in told.body


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9090", "LOCALHOST", "localhost.", "[::1]:9090", "[::1]", "10.0.0.1"]
)
def test_an_address_and_localhost_are_answered(desk_of: Any, host: str) -> None:
    assert desk_of().ask("/metrics", Host=host).status == 200


def test_the_configured_name_is_answered_and_with_a_token_any(desk_of: Any) -> None:
    assert desk_of(host="localhost").ask("/metrics", Host="LocalHost:1").status == 200
    told = desk_of(token="t").ask("/metrics", Host="admin.example", Authorization="Bearer t")
    assert told.status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_lead_to_a_page_but_neither_read_nor_begin_anything(
    desk_of: Any, site: str
) -> None:
    desk = desk_of()
    assert desk.ask("/metrics", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
    leads = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
    assert desk.ask("/", **leads).status == 200
    assert desk.ask("/debug/pprof/profile?seconds=60", **leads).status == 403
    assert desk.ask("/debug/pprof/heap", form={"action": "start"}, **leads).status == 403
    form = {"action": "stop"}
    other = f"http://{site}.example"
    assert desk.ask("/debug/pprof/heap", form=form, Origin=other).status == 403
    assert desk.ask("/debug/pprof/heap", form=form, Origin="null").status == 403
    here = f"127.0.0.1:{desk.server.port}"
    assert desk.ask("/debug/pprof/heap", form=form, Origin=f"http://{here}").status == 200


def test_a_browser_without_the_token_signs_in_and_comes_to_what_it_asked_for(desk_of: Any) -> None:
    desk = desk_of(token="s3cret")
    for path, asked in (
        ("/", "%2F"),
        ("/debug/pprof/", "%2Fdebug%2Fpprof%2F"),
        ("/jobs", "%2Fjobs"),
    ):
        told = desk.ask(path, **BROWSER)
        assert (told.status, told.headers["location"]) == (303, f"/sign-in?next={asked}")
        form = desk.ask(told.headers["location"], **BROWSER)
        assert f'name="next" value="{path}"' in form.text and form.status == 200
        done = desk.ask("/sign-in", form={"token": "s3cret", "next": path})
        assert (done.status, done.headers["location"]) == (303, path)
    held = done.headers["set-cookie"].partition(";")[0]
    assert desk.ask("/", Cookie=held, **BROWSER).status == 200
    assert desk.ask("/sign-in", form={"token": "s3cret"}).headers["location"] == "/"
    assert desk.ask("/static/admin/admin.css").status == 200
    assert desk.ask("/favicon.ico").status == 200


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "",
     "/a\r\nSet-Cookie: x=y", "evil", "/\N{SNOWMAN}", '/"><script>'],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(desk_of: Any, place: str) -> None:
    desk = desk_of(token="t")
    done = desk.ask("/sign-in", form={"token": "t", "next": place})
    went = urlsplit(done.headers["location"])
    assert done.status == 303 and not went.scheme and not went.netloc and went.path[:1] == "/"
    assert "\n" not in done.headers["location"] and "x=y" not in done.headers["set-cookie"]
    page = desk.ask("/sign-in", form={"token": "wrong", "next": place})
    assert "<script>" not in page.text and page.status == 403


def test_guesses_are_slowed_down_from_where_they_come(desk_of: Any) -> None:
    desk = desk_of(token="right")
    seen = [desk.ask("/metrics", Authorization=f"Bearer {n}").status for n in range(15)]
    assert seen[:10] == [401] * 10 and set(seen[10:]) == {429}
    told = desk.ask("/sign-in", form={"token": "right"})
    assert told.status == 429 and 1 <= int(told.headers["retry-after"]) <= 60
    assert desk.ask("/metrics", Authorization="Bearer right").status == 429, "or it is a guess"
    assert desk.ask("/healthz").status == 200 and desk.ask("/metrics").status == 401


def test_forms_of_another_kind_or_size_are_refused(desk_of: Any) -> None:
    desk = desk_of(token="t")
    assert desk.ask("/sign-in", "POST").status == 415
    assert desk.ask("/sign-in", form={"token": "x" * 20_000}).status == 413
    assert desk.ask("/?" + "a&" * 1500).status in (400, 401)
