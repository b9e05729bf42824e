"""Where in HTML every placeholder and marker of a page stands; refused where no value is safe.

Pages are written in less than HTML: text, comments, tags with quoted attributes, and elements that
hold nothing but text. All else is refused, so that no browser (WHATWG HTML, section 13.2.5) can
read a page in another way than this file does.
"""

from __future__ import annotations

import bisect
import itertools
import re
from typing import NamedTuple, NoReturn

from .tokens import Token, fail

# Text to every browser. Left out on purpose: style, srcdoc, srcset, ping, what svg animates.
_TEXT = re.compile(
    r"""abbr|accept|alt|autocomplete|class|cols|colspan|content|cx|cy|d|datetime|dir|download|fill|
    for|form|headers|height|hidden|id|inputmode|label|lang|list|max|maxlength|media|method|min|
    minlength|name|pattern|placeholder|points|r|rel|role|rows|rowspan|rx|ry|scope|size|span|start|
    step|stroke|tabindex|target|title|transform|type|value|viewbox|width|wrap|x|x1|x2|y|y1|y2""",
    re.X,
)
URLS = frozenset({"action", "formaction", "href", "poster", "src"})
# What these load is run, or moves every other URL.
_LOADERS = frozenset({"base", "embed", "object", "script"})
# What Datastar evaluates, where a page opts in to it.
_EVALUATED = re.compile(
    r"data-(on|signals|computed|effect|init|text|show|class|attr|style|bind)(?![a-z0-9])"
)
# After this no value can choose a URL's scheme or host.
SETTLED = re.compile(
    r"https?://[a-zA-Z0-9.-]+(:[0-9]+)?[/?#]|mailto:|tel:"
    r"|/[a-zA-Z0-9_.~-]|[a-zA-Z0-9_.~-]+[/?#]|[?#]"
)
# The same of what follows a checked value that begins a URL, up to its end. That value may be
# empty, so no "//" here, nor what could hide one: white space, "&", the next value ("\ud800").
FOLLOWS = re.compile(r"/(?:[^/\\&\x00-\x20\ud800]|\Z)|[a-zA-Z0-9_.~-]+(?:[/?#]|\Z)|[?#]|\Z")


def takes_values(tag: str, attribute: str) -> bool:
    """Whether a value of a user may stand in this attribute. Both names in lower case."""
    if attribute in URLS:
        return tag not in _LOADERS
    if attribute.startswith(("aria-", "data-")):
        return not _EVALUATED.match(attribute)
    return _TEXT.fullmatch(attribute) is not None


# HTML's white space is these five: \s of Python has more, and would split what no browser does.
_SPACE = r"[ \t\n\f\r]"
_GAP = "[ \t\n\f\r\ud801]*"
_NAME = r"[a-zA-Z][a-zA-Z0-9-]*"
_ATTRIBUTE_NAME = r"[a-zA-Z_:@][a-zA-Z0-9_:@.-]*"
_PIECE = re.compile(
    r"(?P<text>[^<]+)|<!--(?!-?>)(?P<comment>(?:(?!--!?>).)*)-->|<!doctype html>"
    rf"|</{_NAME}{_SPACE}*>|<(?P<tag>{_NAME})(?=[ \t\n\f\r/>])",
    re.A | re.I | re.S,
)
_ATTRIBUTE = re.compile(
    rf"{_GAP}(?P<name>{_ATTRIBUTE_NAME})"
    r"(?:=(?P<quote>[\"'])(?P<value>.*?)(?P=quote)|(?=[ \t\n\f\r/>]))",
    re.S,
)
_TAG_END = re.compile(rf"{_GAP}/?>")
# How far a piece or an attribute that cannot be read can be read.
_BROKEN = re.compile(rf"<[!?/]?(?:{_NAME})?|{_GAP}(?:{_ATTRIBUTE_NAME})?(?P<equals>=?)")
# Browsers find no tag in these, or ignore the element and find them: so there may be none.
_TEXT_ONLY = {"iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "xmp"}
_TEXT_WITH_VALUES = {"textarea", "title"}
# Half surrogate pairs stand for tokens: no text that came from UTF-8 holds one.
_VALUE, _MARKER = "\ud800", "\ud801"
_OWN = re.compile(f"[{_VALUE}{_MARKER}]")
_ELSEWHERE = "put the value in an element or a data- attribute and read it from there"


class HtmlContext(NamedTuple):
    """at: which tag, value or element it is in, -1 for between them.

    check: the function of wsgi.markup that a value goes through first, where it begins a URL.
    """

    at: int = -1
    check: str = ""


def find_contexts(tokens: list[Token]) -> list[HtmlContext]:
    """Return one HtmlContext for each token.

    Raises BuildError F310 to F313, F315 and F317 for the first mistake.
    """
    return _Reader(tokens).places()


class _Reader:
    """Reads the page as one text, with a character for each placeholder and marker."""

    def __init__(self, tokens: list[Token]) -> None:
        own = {"text": None, "value": _VALUE}
        pieces = [own.get(token.kind, _MARKER) or token.text for token in tokens]
        self._page = "".join(pieces)
        self._starts = list(itertools.accumulate(map(len, pieces), initial=0))[:-1]
        self._tokens = dict(zip(self._starts, tokens, strict=True))
        self._places: dict[int, HtmlContext] = {}

    def places(self) -> list[HtmlContext]:
        """Read the page."""
        at = 0
        while at < len(self._page):
            found = _PIECE.match(self._page, at)
            if found is None:
                self._broken(at)
            at = found.end()
            if found["comment"]:
                self._text(*found.span("comment"), "a comment", values=False)
            elif found["tag"]:
                at = self._tag(found["tag"].lower(), at)
        return [self._places.get(start, HtmlContext()) for start in self._starts]

    def _tag(self, tag: str, start: int) -> int:
        at = start
        while found := _ATTRIBUTE.match(self._page, at):
            self._put(at, found.start("name"), HtmlContext(start))
            self._attribute(tag, found["name"].lower(), *found.span("value"))
            at = found.end()
        end = _TAG_END.match(self._page, at)
        if end is None:
            self._broken(at)
        self._put(at, end.end(), HtmlContext(start))
        return self._content(tag, end.end())

    def _content(self, tag: str, start: int) -> int:
        if tag not in _TEXT_ONLY | _TEXT_WITH_VALUES:
            return start
        found = re.compile(rf"([^<]*)(</{tag}{_SPACE}*>)?", re.A | re.I).match(self._page, start)
        assert found
        if not found[2]:
            message = f"<{tag}> holds text without tags, up to </{tag}>"
            hint = "write &lt; for <; scripts and styles belong in static/"
            self._fail(found.end(1), "F317", message, hint)
        self._text(*found.span(1), f"<{tag}>", values=tag in _TEXT_WITH_VALUES)
        return found.end()

    def _attribute(self, tag: str, name: str, start: int, end: int) -> None:
        if name == "http-equiv" and start >= 0:
            self._fail(start, "F312", "http-equiv acts as a header", "send a header")
        for at, token in self._put(start, end, HtmlContext(start)):
            if name in URLS and token.kind != "value":
                self._fail(at, "F315", "a marker cannot stand in a URL", "repeat the attribute")
            if token.raw or (token.kind == "value" and not takes_values(tag, name)):
                what = f"a {'raw value' if token.raw else 'placeholder'} cannot be safe in"
                hint = "put it in an element, or escaped in a data- attribute; or choose a class"
                self._fail(at, "F312", f'{what} "{name}" of <{tag}>', hint)
            check = self._url(at, start, end) if name in URLS else ""
            self._places[at] = HtmlContext(start, check)

    def _url(self, at: int, start: int, end: int) -> str:
        """How a value of a URL is checked. One that follows a value is settled by what is between
        the two, or that first one was refused.
        """
        if self._page[start] == _VALUE:
            settled = FOLLOWS.match(self._page, start + 1, end)
        else:
            settled = SETTLED.match(self._page, start, at)
        if settled is None:
            hint = (
                "a value begins the URL, before nothing, /name, ? or #; or comes after one of these"
            )
            self._fail(at, "F313", "the placeholder could choose the scheme or host", hint)
        if at > start:
            return ""
        return "check_root" if self._page.startswith("/", at + 1, end) else "check_url"

    def _put(self, start: int, end: int, place: HtmlContext) -> list[tuple[int, Token]]:
        """Note the place of the tokens between two offsets, and give them."""
        found = [match.start() for match in _OWN.finditer(self._page, start, end)]
        self._places |= dict.fromkeys(found, place)
        return [(at, self._tokens[at]) for at in found]

    def _text(self, start: int, end: int, where: str, values: bool) -> None:
        for at, token in self._put(start, end, HtmlContext(start)):
            if token.raw or not values:
                message = f"a {'raw value' if values else 'placeholder'} cannot be safe in {where}"
                self._fail(at, "F310", message, _ELSEWHERE)

    def _broken(self, at: int) -> NoReturn:
        found = _BROKEN.match(self._page, at)
        assert found
        at, here = found.end(), self._page[found.end() : found.end() + 1]
        if found["equals"] and here not in "\"'":
            self._fail(at, "F311", "an attribute's value needs quotes", 'as in title="${x}"')
        if here == _VALUE:
            self._fail(at, "F310", "a placeholder cannot be safe in a tag's names", _ELSEWHERE)
        if here == _MARKER:
            self._fail(at, "F315", "a marker cannot stand here", "in a tag, put a space before it")
        what = f"{here!r} cannot stand here" if here else "the page ends inside something"
        self._fail(at, "F317", what, 'write &lt; for a "<" that begins no tag')

    def _fail(self, at: int, code: str, message: str, hint: str) -> NoReturn:
        start = self._starts[bisect.bisect_right(self._starts, at) - 1]
        fail(self._tokens[start], code, message, hint, at - start)
