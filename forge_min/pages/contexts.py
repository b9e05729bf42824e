"""Finds the HTML context of every placeholder and marker, and refuses contexts without safe values.

Pages use a subset of HTML: text, comments, tags with quoted attributes, and elements that contain
only text. Everything else is refused, so that browsers (WHATWG HTML, section 13.2.5) parse a page
as this module does.
"""

from __future__ import annotations

import bisect
import re
from typing import NoReturn

from .tokens import Token, fail

# Attributes with plain text. Excluded for safety: style, srcdoc, srcset, ping, animation of svg.
_TEXT = re.compile(
    r"""abbr|accept|alt|autocomplete|class|cols|colspan|content|cx|cy|d|datetime|dir|download|fill|
    for|form|headers|height|hidden|id|inputmode|label|lang|list|max|maxlength|media|method|min|
    minlength|name|pattern|placeholder|points|r|rel|role|rows|rowspan|rx|ry|scope|size|span|start|
    step|stroke|tabindex|target|title|transform|type|value|viewbox|width|wrap|x|x1|x2|y|y1|y2""",
    re.X,
)
URLS = frozenset({"action", "formaction", "href", "poster", "src"})
# Elements that run loaded content, or that change the base of all other URLs.
_LOADERS = frozenset({"base", "embed", "object", "script"})
# Attributes that Datastar evaluates, if a page uses it.
_EVALUATED = re.compile(
    r"data-(on|signals|computed|effect|init|text|show|class|attr|style|bind)(?![a-z0-9])"
)
# After this prefix, a value cannot choose the scheme or host of a URL.
SETTLED = re.compile(
    r"https?://[a-zA-Z0-9.-]+(:[0-9]+)?[/?#]|mailto:|tel:"
    r"|/[a-zA-Z0-9_.~-]|[a-zA-Z0-9_.~-]+[/?#]|[?#]"
)
# The same for the text after a checked value that begins a URL. The value may be empty, so the text
# may not have "//", nor characters that could hide it: white space, "&", another value ("\ud800").
FOLLOWS = re.compile(r"/(?:[^/\\&\x00-\x20\ud800]|\Z)|[a-zA-Z0-9_.~-]+(?:[/?#]|\Z)|[?#]|\Z")


def takes_values(tag: str, attribute: str) -> bool:
    """Return whether this attribute may contain a user's value. Both names in lower case."""
    if attribute in URLS:
        return tag not in _LOADERS
    if attribute.startswith(("aria-", "data-")):
        return not _EVALUATED.match(attribute)
    return _TEXT.fullmatch(attribute) is not None


# The five white space characters of HTML; \s of Python has more, which do not separate attributes.
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
# The valid beginning of an invalid piece or attribute.
_BROKEN = re.compile(rf"<[!?/]?(?:{_NAME})?|{_GAP}(?:{_ATTRIBUTE_NAME})?(?P<equals>=?)")
# Depending on the browser, tags in these are text or not, so none are allowed.
_TEXT_ONLY = {"iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "xmp"}
_TEXT_WITH_VALUES = {"textarea", "title"}
# Unpaired surrogates represent tokens, because text from UTF-8 cannot contain them.
_VALUE = "\ud800"
_MARKER = "\ud801"
_TOKEN = re.compile(f"[{_VALUE}{_MARKER}]")
_ELSEWHERE = "put the value in an element or a data- attribute and read it from there"


class ContextParser:
    """Parses the page as one text, with a character for each placeholder and marker."""

    def __init__(self, tokens: list[Token]) -> None:
        page = ""
        self._tokens: dict[int, Token] = {}  # by offset
        for token in tokens:
            self._tokens[len(page)] = token
            if token.kind == "text":
                page += token.text
            elif token.kind == "value":
                page += _VALUE
            else:
                page += _MARKER
        self._page = page
        self._starts = list(self._tokens)

    def parse(self) -> list[Token]:
        """Return the tokens with their `context` and `check`.

        Raises BuildError F310, F314 and F317 for the first mistake.
        """
        offset = 0
        while offset < len(self._page):
            match = _PIECE.match(self._page, offset)
            if match is None:
                self._broken(offset)
            offset = match.end()
            if match["comment"]:
                self._text(*match.span("comment"), "a comment", values=False)
            elif match["tag"]:
                offset = self._tag(match["tag"].lower(), offset)
        return list(self._tokens.values())

    def _tag(self, tag: str, start: int) -> int:
        offset = start
        while match := _ATTRIBUTE.match(self._page, offset):
            self._put(offset, match.start("name"), start)
            self._attribute(tag, match["name"].lower(), *match.span("value"))
            offset = match.end()
        end = _TAG_END.match(self._page, offset)
        if end is None:
            self._broken(offset)
        self._put(offset, end.end(), start)
        return self._content(tag, end.end())

    def _content(self, tag: str, start: int) -> int:
        if tag not in _TEXT_ONLY | _TEXT_WITH_VALUES:
            return start
        match = re.compile(rf"([^<]*)(</{tag}{_SPACE}*>)?", re.A | re.I).match(self._page, start)
        assert match
        if not match[2]:
            message = f"<{tag}> may only have text without tags, up to </{tag}>"
            hint = "write &lt; for <; put scripts and styles into static/"
            self._fail(match.end(1), "F317", message, hint)
        self._text(*match.span(1), f"<{tag}>", values=tag in _TEXT_WITH_VALUES)
        return match.end()

    def _attribute(self, tag: str, name: str, start: int, end: int) -> None:
        if name == "http-equiv" and start >= 0:
            self._fail(start, "F310", "http-equiv acts as a header", "send a header")
        for at, token in self._put(start, end, start):
            if name in URLS and token.kind != "value":
                self._fail(at, "F314", "a marker cannot be in a URL", "repeat the attribute")
            if token.raw or (token.kind == "value" and not takes_values(tag, name)):
                kind = "raw value" if token.raw else "placeholder"
                message = f'a {kind} cannot be safe in "{name}" of <{tag}>'
                hint = "put it in an element, or escaped in a data- attribute; or choose a class"
                self._fail(at, "F310", message, hint)
            if name in URLS:
                self._tokens[at] = token._replace(check=self._url(at, start, end))

    def _url(self, at: int, start: int, end: int) -> str:
        """Return the function that checks a value in a URL, "" if it needs none.

        The text before a value determines scheme and host; or it follows a value that was accepted
        because of the text between the two.
        """
        if self._page[start] == _VALUE:
            settled = FOLLOWS.match(self._page, start + 1, end)
        else:
            settled = SETTLED.match(self._page, start, at)
        if settled is None:
            message = "the placeholder could choose the scheme or host"
            hint = (
                "a value begins the URL, before nothing, /name, ? or #; or comes after one of these"
            )
            self._fail(at, "F310", message, hint)
        if at > start:
            return ""
        if self._page.startswith("/", at + 1, end):
            return "check_root"
        return "check_url"

    def _put(self, start: int, end: int, context: int) -> list[tuple[int, Token]]:
        """Set the context of the tokens between two offsets, and return the tokens."""
        tokens = []
        for match in _TOKEN.finditer(self._page, start, end):
            offset = match.start()
            token = self._tokens[offset]._replace(context=context)
            self._tokens[offset] = token
            tokens.append((offset, token))
        return tokens

    def _text(self, start: int, end: int, where: str, values: bool) -> None:
        for offset, token in self._put(start, end, start):
            if token.raw or not values:
                kind = "raw value" if values else "placeholder"
                self._fail(offset, "F310", f"a {kind} cannot be safe in {where}", _ELSEWHERE)

    def _broken(self, at: int) -> NoReturn:
        match = _BROKEN.match(self._page, at)
        assert match
        end = match.end()
        character = self._page[end : end + 1]
        if match["equals"] and character not in "\"'":
            self._fail(end, "F310", "an attribute's value needs quotes", 'as in title="${x}"')
        if character == _VALUE:
            self._fail(end, "F310", "a placeholder cannot be safe in a tag's names", _ELSEWHERE)
        if character == _MARKER:
            self._fail(end, "F314", "a marker cannot be here", "in a tag, put a space before it")
        message = "the page ends inside a tag or comment"
        if character:
            message = f"{character!r} cannot be here"
        self._fail(end, "F317", message, 'write &lt; for a "<" that does not begin a tag')

    def _fail(self, at: int, code: str, message: str, hint: str) -> NoReturn:
        start = self._starts[bisect.bisect_right(self._starts, at) - 1]
        fail(self._tokens[start], code, message, hint, at - start)
