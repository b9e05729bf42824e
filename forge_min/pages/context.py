"""Where in HTML a placeholder stands: a state machine over the literal text of a page.

It follows the tokenizer of the HTML standard (WHATWG, section 13.2.5) and refuses what browsers
repair, so that it can never be in another state than they are.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, NoReturn

from .attributes import UNSAFE_HINT, is_url, unsafe, url_mode

Mode = Literal["text", "attribute", "url"]
_RAW_TEXT = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes"})
_RCDATA = frozenset({"title", "textarea"})
_FOREIGN = frozenset({"svg", "math"})
# HTML's white space is these five: \s of Python has more, and would split what no browser does.
_SPACES = " \t\n\f\r"
_OPEN = re.compile(rf"<(?:(?P<name>/?[a-zA-Z][^{_SPACES}/>]*)|(?P<declaration>[!?/]))")
_SPLIT = re.compile(r"<(?:[!/]|!-)?\Z")
_ATTRIBUTE = re.compile(rf"[^{_SPACES}/>=\"'<]+")
_UNQUOTED = re.compile(rf"[^{_SPACES}>\"'<=`]*")
_GAP = re.compile(rf"[{_SPACES}/]*")


class Misuse(Exception):
    """The page cannot be safe. offset: where, in the text that was fed; 0 for a placeholder."""

    def __init__(self, code: str, message: str, hint: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.offset = code, message, hint, offset


class Place(NamedTuple):
    """What must be the same at the start and at the end of a section."""

    state: str
    tag: str
    attribute: str
    quote: str
    foreign: int


class Context:
    """Fed with literal text in order; asked at every placeholder and marker."""

    def __init__(self) -> None:
        self._state = "data"
        self._tag = ""  # the tag being read, or whose raw content is being read
        self._closing = False
        self._names: set[str] = set()
        self._attribute = ""
        self._quote = ""
        self._prefix = ""  # the value so far; a placeholder counts as "\0"
        self._refresh = False  # a placeholder stands in the content of this meta tag
        self._split = False  # the text ended in the middle of a token
        self._foreign = 0  # open svg and math elements: scripts and styles in them are no raw text

    def feed(self, text: str) -> None:
        """Go on through literal text. Misuse F317 for HTML that a browser would repair."""
        if self._split:
            self._split_error()
        at = 0
        while at < len(text):
            at = getattr(self, "_in_" + self._state)(text, at)

    def placeholder(self, raw: bool) -> Mode:
        """How a value must be written here. Misuse where none is safe."""
        if self._split:
            self._split_error()
        if self._state == "data" or (self._state == "rcdata" and not raw):
            return "text"
        if self._state == "quoted" and not self._closing:
            return self._attribute_mode(raw)
        if self._state in ("before_value", "unquoted"):
            message = f'the placeholder in "{self._attribute}" needs quotes around the value'
            raise Misuse("F311", message, f'{self._attribute}="${{...}}"')
        where = {
            "rawtext": f"inside <{self._tag}>",
            "rcdata": f"raw inside <{self._tag}>",
            "comment": "inside a comment",
            "declaration": "inside a declaration",
        }.get(self._state, "in the name of a tag or an attribute")
        hint = "put the value in an element or a data- attribute and read it from there"
        raise Misuse("F310", f"a placeholder cannot be safe {where}", hint)

    def section(self) -> Place:
        """The place of a marker. Misuse F315 where a section cannot begin or end."""
        if self._split:
            self._split_error()
        if self._state == "after_name":
            self._state = "before_attribute"
        if self._state not in ("data", "rcdata", "before_attribute", "quoted"):
            hint = "inside a tag, put a space before the marker"
            raise Misuse("F315", "a marker cannot stand here", hint)
        if self._state == "quoted":
            if is_url(self._tag, self._attribute):
                raise Misuse("F315", "a marker cannot stand inside a URL", "repeat the attribute")
            return Place("quoted", self._tag, self._attribute, self._quote, self._foreign)
        tag = "" if self._state == "data" else self._tag
        return Place(self._state, tag, "", "", self._foreign)

    def finish(self) -> None:
        """The page ends. Misuse F317 when it ends inside something."""
        if self._split or self._state != "data":
            inside = f"<{self._tag}>" if self._tag else "a tag or comment"
            raise Misuse("F317", f"the page ends inside {inside}", "close it")

    # -- states: each reads on from `at` and gives where it stopped --------------------------------

    def _in_data(self, text: str, at: int) -> int:
        found = _OPEN.search(text, at)
        if not found or _SPLIT.match(text, found.start()):
            self._split = _SPLIT.search(text, at) is not None
            return len(text)
        if found["declaration"]:
            return self._declaration(text, found.start())
        name = found["name"].lower()
        self._closing, self._tag = name.startswith("/"), name.lstrip("/")
        self._names, self._refresh = set(), False
        self._check(text, found.start(), found.end(), "<\"'=")
        self._state = "tag_name" if found.end() == len(text) else "before_attribute"
        return found.end()

    def _declaration(self, text: str, at: int) -> int:
        if text.startswith("<![", at):
            self._bad(at, "CDATA is not HTML")
        if not text.startswith("<!--", at):
            self._state = "declaration"
            return at + 2
        short = re.compile("-?>").match(text, at + 4)
        self._state = "data" if short else "comment"
        return short.end() if short else at + 4

    def _in_declaration(self, text: str, at: int) -> int:
        return self._skip_to(re.compile(">"), text, at)

    def _in_comment(self, text: str, at: int) -> int:
        return self._skip_to(re.compile("--!?>"), text, at)

    def _skip_to(self, end: re.Pattern[str], text: str, at: int) -> int:
        found = end.search(text, at)
        if found:
            self._state, self._tag = "data", ""
        else:
            self._split = True  # an end in two pieces would go unseen
        return found.end() if found else len(text)

    def _in_tag_name(self, text: str, at: int) -> int:
        self._split_error()

    def _in_before_attribute(self, text: str, at: int) -> int:
        gap = _GAP.match(text, at)
        at = gap.end() if gap else at
        if at == len(text):
            return at
        if text[at] == ">":
            self._tag_end(at, empty=text[at - 1 : at] == "/")
            return at + 1
        name = _ATTRIBUTE.match(text, at)
        if not name:
            self._bad(at, f"{text[at]!r} cannot stand inside a tag")
        self._attribute = name[0].lower()
        self._names.add(self._attribute)
        self._state = "name" if name.end() == len(text) else "after_name"
        return name.end()

    def _in_name(self, text: str, at: int) -> int:
        self._split_error()

    def _in_after_name(self, text: str, at: int) -> int:
        if text[at] in _SPACES:
            return at + 1
        if text[at] == "=":
            self._state = "before_value"
            return at + 1
        self._state = "before_attribute"
        return self._in_before_attribute(text, at)

    def _in_before_value(self, text: str, at: int) -> int:
        if text[at] in _SPACES:
            return at + 1
        if text[at] == ">":
            self._bad(at, f'"{self._attribute}" has no value after "="')
        self._prefix = ""
        self._quote = text[at] if text[at] in "\"'" else ""
        self._state = "quoted" if self._quote else "unquoted"
        return at + 1 if self._quote else self._in_unquoted(text, at)

    def _in_unquoted(self, text: str, at: int) -> int:
        found = _UNQUOTED.match(text, at)
        end = found.end() if found else at
        if end < len(text):
            if text[end] not in _SPACES + ">":
                self._bad(end, f"{text[end]!r} in a value without quotes")
            self._state = "before_attribute"
        return end

    def _in_quoted(self, text: str, at: int) -> int:
        end = text.find(self._quote, at)
        value = text[at:] if end < 0 else text[at:end]
        if "</" in value:  # inside <noscript>, browsers end that first
            self._bad(at + value.index("</"), '"</" in an attribute', "write &lt;/")
        self._prefix += value
        if end < 0:
            return len(text)
        self._state = "before_attribute"
        return end + 1

    def _in_rawtext(self, text: str, at: int) -> int:
        end = re.compile(rf"</{self._tag}(?=[{_SPACES}/>])", re.I).search(text, at)
        content = text[at : end.start() if end else len(text)]
        # Where browsers ignore the tag (in a <select>) they would read what looks like tags.
        looks = re.compile("<!--" if self._tag == "script" else "<[a-zA-Z!/?]").search(content)
        if looks:
            self._bad(at + looks.start(), f"{looks[0]!r} inside <{self._tag}>")
        if not end:
            self._split = True
            return len(text)
        self._closing, self._state = True, "before_attribute"
        return end.end()

    def _in_rcdata(self, text: str, at: int) -> int:
        start = text.find("<", at)
        if start < 0:
            return len(text)
        end = re.compile(rf"</{self._tag}[{_SPACES}]*>", re.I).match(text, start)
        if not end:
            self._bad(start, f'"<" inside <{self._tag}>', "write &lt;")
        self._state, self._tag = "data", ""
        return end.end()

    # -- steps -------------------------------------------------------------------------------------

    def _tag_end(self, at: int, empty: bool) -> None:
        if self._refresh and "http-equiv" in self._names:
            raise Misuse("F312", "a placeholder in a meta tag with http-equiv", UNSAFE_HINT, at)
        if self._tag == "plaintext":
            self._bad(at, "<plaintext> cannot be closed")
        self._state = "data"
        if self._tag in _FOREIGN and not empty:
            self._foreign = max(0, self._foreign + (-1 if self._closing else 1))
        if not self._closing and self._tag in _RAW_TEXT:
            if self._foreign:
                self._bad(at, f"<{self._tag}> inside svg or math")
            self._state = "rawtext"
        elif not self._closing and self._tag in _RCDATA:
            self._state = "rcdata"
        else:
            self._tag = ""

    def _attribute_mode(self, raw: bool) -> Mode:
        if raw:
            raise Misuse("F312", "a raw value cannot be safe in an attribute", "leave out !raw")
        if unsafe(self._tag, self._attribute):
            message = f'a placeholder cannot be safe in "{self._attribute}"'
            raise Misuse("F312", message, UNSAFE_HINT)
        prefix, self._prefix = self._prefix, self._prefix + "\0"
        self._refresh |= (self._tag, self._attribute) == ("meta", "content")
        if not is_url(self._tag, self._attribute):
            return "attribute"
        mode = url_mode(self._tag, prefix)
        if mode is None:
            hint = "a value is the whole start of a URL, or comes after a / ? or #"
            raise Misuse("F313", "the placeholder could choose the scheme or host", hint)
        return mode

    def _check(self, text: str, start: int, end: int, bad: str) -> None:
        for at in range(start + 1, end):
            if text[at] in bad:
                self._bad(at, f"{text[at]!r} in the name of a tag")

    def _bad(self, at: int, message: str, hint: str = "") -> NoReturn:
        raise Misuse("F317", message, hint, at)

    def _split_error(self) -> NoReturn:
        if self._state == "rawtext" or self._state in ("comment", "declaration"):
            where = f"inside <{self._tag}>" if self._state == "rawtext" else "inside a comment"
            raise Misuse("F310", f"nothing but text can stand {where}", "move it out")
        hint = 'write &lt; for a "<" that begins no tag'
        raise Misuse("F310", "a tag or its name cannot be made of several pieces", hint)
