"""No value takes a URL to another host, but one that is a whole http(s) URL at its beginning."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from forge_min.errors import BuildError
from forge_min.wsgi.markup import check_root, check_url
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import page
from .urls import PAGES, VALUES

_WHOLE = re.compile(r"https?://[^/\\?#]", re.I)


def leaves(url: str) -> bool:
    """Whether a browser on an https page goes elsewhere, or runs it (WHATWG URL, section 4.4)."""
    seen = re.sub("[\t\n\r]", "", url.strip("".join(map(chr, range(33)))))
    scheme = re.match("([a-z][a-z0-9+.-]*):", seen, re.A | re.I)
    if scheme:
        return scheme[1].lower() not in ("mailto", "tel")
    return re.match(r"[/\\]{2}", seen) is not None


def is_whole(value: str) -> bool:
    """Whether a value names its host itself, after what browsers leave out."""
    return _WHOLE.match(re.sub(r"[\0-\x20\x7f-\x9f]", "", value.strip())) is not None


def hrefs(html: str) -> list[str]:
    """The links of a page."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.extend(v or "" for _, v in attrs)  # type: ignore[method-assign]
    parser.feed(html)
    parser.close()
    return found


@given(st.sampled_from(PAGES), VALUES, VALUES, VALUES)
@settings(deadline=None)
def test_values_stay_on_the_host(source: str, x: str, y: str, z: str) -> None:
    (url,) = hrefs(page(source)(x=x, y=y, z=z))
    assert not leaves(url) or ('"${x}' in source and is_whole(x))


PARTS = st.sampled_from(
    [
        "${x}",
        "${x}",
        "${y}",
        "/",
        "//",
        "\\",
        "\t",
        "\n",
        " ",
        "a",
        "evil.example",
        ":",
        "?",
        "#",
        ".",
    ]
    + ["&#47;", "&sol;", "&Tab;", "%", "@", "https:", "java", "script:", "http", "mailto:", "\xa0"]
)


@given(st.lists(PARTS, max_size=6).map("".join), VALUES, VALUES)
@settings(deadline=None)
def test_whatever_compiles_goes_where_it_went_without_the_values(url: str, x: str, y: str) -> None:
    try:
        render = page(f'<a href="{url}">x</a>')
    except BuildError as err:
        assert err.code == "F310"
        return
    (seen,) = hrefs(render(x=x, y=y))
    (plain,) = hrefs(render(x="x", y="x"))
    first = {"${x}": x, "${y}": y}.get(url[:4], "")
    assert not leaves(seen) or leaves(plain) or is_whole(first)


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("", "/flights"),
        ("/", "/flights"),
        ("//", "/flights"),
        ("/\\", "/flights"),
        ("/\t", "/flights"),
        ("/app", "/app/flights"),
        ("/app/", "/app/flights"),
        ("https://a.example/", "https://a.example/flights"),
        ("https://", "#/flights"),
        ("https:", "#/flights"),
        ("//evil.example", "#/flights"),
        ("\\/evil.example", "#/flights"),
        ("/\n/evil.example", "#/flights"),
        ("https://\xa0/", "https://\xa0/flights"),
    ],
)
def test_a_root_stands_before_one_slash(root: str, url: str) -> None:
    assert hrefs(page('<a href="${root}/flights">x</a>')(root=root)) == [url]


def test_a_root_keeps_its_slash_before_a_question() -> None:
    assert hrefs(page('<a href="${root}?a=${b}">x</a>')(root="/", b="/")) == ["/?a=/"]


@given(st.text(max_size=20) | VALUES)
@settings(deadline=None)
def test_what_is_checked_stays_or_is_whole(value: str) -> None:
    assert not leaves(check_url(value)) or is_whole(value)
    assert not leaves(check_root(value) + "/evil.example") or is_whole(value)
