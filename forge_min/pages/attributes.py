"""Attributes by what a browser does with them: run them, follow them as a URL, just keep them."""

from __future__ import annotations

import html
import re
from typing import Literal

UNSAFE_HINT = "browsers run what is in it: put the value in a data- attribute or choose a class"

_RUN = frozenset({"style", "srcdoc", "srcset", "imagesrcset", "ping", "attributename"})
# What Datastar evaluates, where a page opts in to it.
_EVALUATED = re.compile(
    r"data-(on|signals|computed|effect|init|text|show|class|attr|style|bind)(?![a-z0-9])"
)
_ANIMATED = frozenset({"animate", "set", "animatetransform", "animatemotion"})
_ANIMATION = frozenset({"to", "from", "by", "values"})
_URLS = frozenset(
    {
        "action",
        "background",
        "cite",
        "codebase",
        "formaction",
        "href",
        "longdesc",
        "manifest",
        "poster",
        "src",
        "xlink:href",
    }
)
_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_IGNORED = re.compile(r"[\x01-\x20\x7f-\x9f]")
_OWN_PATH = re.compile(r"/[^/\\\0]+/")
_HOST_OPEN = re.compile(r"(?:[a-zA-Z]+:)?[/\\]{2}[^/\\?#]*")


def unsafe(tag: str, attribute: str) -> bool:
    """Whether no value of a user may stand in this attribute."""
    if attribute.startswith("on") or attribute in _RUN or _EVALUATED.match(attribute):
        return True
    return tag in _ANIMATED and attribute in _ANIMATION


def is_url(tag: str, attribute: str) -> bool:
    """Whether browsers follow the attribute's value."""
    return attribute in _URLS or (tag, attribute) == ("object", "data")


def url_mode(tag: str, prefix: str) -> Literal["url", "attribute"] | None:
    """How a value is written that follows `prefix` in a URL: None when it may not stand there.

    "url": it begins the URL, so its scheme is checked at run time. "attribute": that is settled.
    prefix: literal text with "\\0" for placeholders before.
    """
    before = _IGNORED.sub("", html.unescape(prefix.replace("\0", "\ue000")))
    before = before.replace("\ue000", "\0")
    if tag == "script":  # what it loads runs: our own folder must be spelled out
        return "attribute" if _OWN_PATH.match(before) else None
    if not before:
        return "url"
    if _HOST_OPEN.fullmatch(before):
        return None
    scheme = _SCHEME.match(before)
    if scheme:
        return "attribute" if scheme[1].lower() in _SCHEMES else None
    settled = re.search(r"[/?#]", before)
    return "attribute" if settled else None
