"""HTML text is escaped unless somebody vouches for it, and no URL runs a script."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from forge_min.html import record
from forge_min.wsgi import Raw, check_url, escape
from forge_min.wsgi.markup import raw
from hypothesis import given
from hypothesis import strategies as st


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.attributes = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_any_text_stays_text_in_an_element_and_an_attribute(text):
    safe = escape(text)
    assert not set(safe) & set("<>\"'")
    reader = Reader()
    reader.feed(f'<p title="{safe}">{safe}</p>')
    reader.close()
    assert reader.tags == ["p"]
    assert reader.attributes[0][0] == "title"
    if "\0" not in text and "\r" not in text:
        assert reader.text == text


def test_none_is_nothing_and_numbers_are_text():
    assert escape(None) == ""
    assert escape(7) == "7"


def test_a_subclass_of_str_is_escaped_and_a_raw_is_one():
    class Text(str):
        pass

    assert escape(Text("<")) == "&lt;"
    assert escape(Raw("<")) == "&lt;"


def test_only_a_raw_goes_out_as_it_is():
    assert raw(Raw("<b>")) == "<b>"
    for value in ("<b>", None, 7, b"<b>"):
        with pytest.raises(TypeError, match="needs a Raw, not "):
            raw(value)


@pytest.mark.parametrize(
    "url",
    ["/a?b=c", "a/b", "#x", "?q", "", "https://a/b", "HTTP://a", "mailto:a@b", "tel:+1", "a/b:c"],
)
def test_safe_urls_go_through(url):
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScript:x", " javascript:x", "java\nscript:x", "\x01javascript:x"]
    + [
        "java\tscript:x",
        "data:text/html,x",
        "vbscript:x",
        "javascript\r\n:x",
        "file:///etc",
        "blob:x",
        "\xa0javascript:x",
        "\u2028\x01javascript:x",
        "//host/x",
        "\\\\host",
        "/\t/host",
        " /\\host",
        "https:host",
        "https:///host",
        "http:/host",
    ],
)
def test_urls_that_run_or_read_something_are_replaced(url):
    assert check_url(url) == "#"


def test_no_value_is_no_url():
    assert check_url(None) == ""


def test_the_history_writes_only_the_beginning_of_a_large_json():
    class Large(dict):
        def __repr__(self):
            raise AssertionError("all of it was written")

    value = Large(name="x" * 20, more=[*range(1000)])
    field = SimpleNamespace(name="doc", label="Doc", kind="json", relation=None)
    formatter = record._ChangeFormatter(
        None, [field], [SimpleNamespace(changes={"doc": (None, value)})]
    )
    written = formatter.value("doc", value)
    assert written.startswith('{\n  "name": "xx') and len(written) == 60 and written[-1] == "…"
    assert formatter.value("doc", {"a": None}) == '{\n  "a": null\n}'
