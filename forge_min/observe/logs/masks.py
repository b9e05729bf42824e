"""What a log must not hold: secrets, and what clients send.

A password in an address, the value after `token=`, credentials in a header, a field that is named
like a secret, and of a database error the parts that repeat a row.
"""

from __future__ import annotations

import re

MASK = "***"

_SECRET = (
    r"password|passwd|passphrase|passcode|pwd|secret|token|credentials?|cookie|session_id|jwt"
    r"|(?:api|access|private)[_-]?key|authorization"
)
_NAME = re.compile(rf"(?i)(?:{_SECRET})(?:[_-](?:access[_-]?)?(?:key|hash|value))?$")
# SAFETY: every repeat is possessive or has a small bound, so that the time grows as the text does:
# clients choose what a line of the log holds, and `re` keeps all other threads from running.
_RUN = re.compile(r"://\S++(?:\s[^\s@]*+@\S*+)?")
_PORT = re.compile(r"\d{1,5}(?:[/?#\s]|$)")
_STRING = """[bru]{0,2}(?:'(?:[^'\\\\]|\\\\.|'')*+(?:'|$)|"(?:[^"\\\\]|\\\\.)*+(?:"|$))"""
# What stands before a secret, and is kept, in a group of its own; then the secret.
_PAIR = re.compile(
    rf"""(?isx)
    (?P<header> (?:authorization|cookie) \s{{0,4}} [:=] \s{{0,4}} ) [^\r\n]++
    | (?P<key> (?:{_SECRET}) [\w-]{{0,24}} (?P<q>\\?['"]) \s{{0,40}} (?:[:,]|=>?) \s{{0,40}} )
      (?: {_STRING} | [^\s,}}\]]++ )
    | (?P<pair> (?:{_SECRET}) [\w-]{{0,24}} \s{{0,4}} (?::=|=>?|:|%3d) \s{{0,4}} )
      (?: {_STRING} | (?:(?:bearer|basic)\s{{1,4}})? (?:[^\s&'";)\\]|\\.)++ )
    | (?P<scheme> bearer\s{{1,4}} ) [^\s'",;]{{8}}[^\s'",;]*+
    """
)
_KEPT = ("header", "key", "pair", "scheme")
# PERF: all that `_PAIR` can begin with, to be looked for in small letters: a tenth of its time.
_WORD = re.compile(
    b"pass(?:word|wd|phrase|code)|pwd|secret|token|credential|cookie|session_id|jwt|api[_-]?key"
    b"|access[_-]?key|private[_-]?key|authorization|bearer"
)
_QUOTED = re.compile(r'"[^"]*"')
_SYNTAX_ERROR = "42601"  # PostgreSQL manual, appendix A
_TOKEN = re.compile(r'(?<=at or near )".*"', re.S)
_LINE = re.compile(r"\n[ |]*LINE \d+: .*(?:\n[ |]*\^)?")


def is_secret(name: str) -> bool:
    """Whether a field of this name is never shown."""
    return _NAME.search(name) is not None


def masked(text: str) -> str:
    """The text without the secrets that can be seen in it."""
    if "://" in text:
        text = _RUN.sub(_without_password, text)
    parts, done = [], 0
    for word in _WORD.finditer(text.encode("ascii", "replace").lower()):
        if word.start() >= done and (found := _PAIR.match(text, word.start())):
            kept = next(found[name] for name in _KEPT if found[name] is not None)
            parts += [text[done : word.start()], kept, MASK]
            done = found.end()
    return "".join([*parts, text[done:]]) if done else text


def _without_password(found: re.Match[str]) -> str:
    """`://user:password@`, where what has no end in sight may hold several @."""
    before, at, after = found[0].rpartition("@")
    user, colon, password = before[3:].partition(":")
    if not colon or "/" in user or any(map(str.isspace, user)) or _PORT.match(password):
        return found[0]
    return f"://{user}:{MASK}{at}{after}"


def tidied(text: str, error: BaseException | None) -> str:
    """What an error, or its traceback, says, as it may be kept."""
    return masked(without_rows(text, error))


def without_rows(text: str, error: BaseException | None) -> str:
    """A traceback's text without what a database's error repeats of a row or a parameter.

    PostgreSQL puts them into DETAIL and CONTEXT, into the message of data exceptions (class 22 of
    its error codes), repeats a line of the statement, and of a syntax error the token where it
    stopped, which of a literal without an end is all that follows.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
        diag = getattr(error, "diag", None)
        if diag is None:
            continue
        text = _LINE.sub("", text)
        for part in ("message_detail", "context"):
            if said := _said(diag, part):
                text = _replaced(text, said, MASK)
        if (said := _said(diag, "message_primary")) and (hides := _hides(_said(diag, "sqlstate"))):
            text = _replaced(text, said, hides.sub(MASK, said))
    return text


def _hides(state: str) -> re.Pattern[str] | None:
    """What is not kept of the message of an error of this code."""
    return _TOKEN if state == _SYNTAX_ERROR else _QUOTED if state.startswith("22") else None


def _replaced(text: str, said: str, by: str) -> str:
    """Also where its lines are indented, as those of a group's exceptions are."""
    lines = r"\n[ |]*".join(map(re.escape, said.split("\n")))
    return re.sub(lines, lambda _: by, text)


def _said(diag: object, part: str) -> str:
    said = getattr(diag, part, None)
    return said if isinstance(said, str) else ""
