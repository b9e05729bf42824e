"""What a log must not hold: secrets, and what clients send.

A password in an address, the value after `token=`, credentials in a header, a field that is named
like a secret, and of a database error the parts that repeat a row.
"""

from __future__ import annotations

import re

MASK = "***"

_SECRET = r"password|passwd|pwd|secret|token|api_?key|private_?key|authorization|cookie|session_id"
_NAME = re.compile(rf"(?i).*(?:{_SECRET})$")
_IN_TEXT = re.compile(
    rf"""(?ix) (?P<url> ://[^\s:/@]*: ) [^\s/@]+ (?=@)
    | (?P<pair> \b\w*(?:{_SECRET})['"]?=['"]? ) [^\s&'";,)]+
    | (?P<header> \b(?:proxy-)?(?:authorization|cookie)['"]?\s*[:,]\s*['"]?(?:\w+\s+)? )
      [^\s'"]{{6,}}
    """
)
_HINTS = ("://", "=", "ookie", "uthorization", "OOKIE", "UTHORIZATION")
_QUOTED = re.compile(r': ".*', re.S)


def is_secret(name: str) -> bool:
    """Whether a field of this name is never shown."""
    return _NAME.match(name) is not None


def masked(text: str) -> str:
    """The text without the secrets that can be seen in it."""
    if not any(hint in text for hint in _HINTS):  # PERF: nearly every line
        return text
    return _IN_TEXT.sub(lambda found: found[found.lastgroup or 0] + MASK, text)


def tidied(text: str, error: BaseException | None) -> str:
    """What an error, or its traceback, says, as it may be kept."""
    return masked(without_rows(text, error))


def without_rows(text: str, error: BaseException | None) -> str:
    """A traceback's text without what a database's error repeats of a row or a parameter.

    PostgreSQL puts them into DETAIL and CONTEXT, and into the message of data exceptions (class 22
    of its error codes).
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        diag = getattr(error, "diag", None)
        for part in ("message_detail", "context"):
            if isinstance(said := getattr(diag, part, None), str):
                text = text.replace(said, MASK)
        said = getattr(diag, "message_primary", None)
        if isinstance(said, str) and str(getattr(diag, "sqlstate", "")).startswith("22"):
            text = text.replace(said, _QUOTED.sub(f": {MASK}", said))
        error = error.__cause__ or error.__context__
    return text
