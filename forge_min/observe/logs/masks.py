"""What a log must not hold: secrets, and what clients send.

A password in an address, the value after `token=`, credentials in a header, a field that is named
like a secret, and of a database error the parts that repeat a row.
"""

from __future__ import annotations

import re

MASK = "***"

_SECRET = (
    r"password|passwd|pwd|secret|token|api[_-]?key|private[_-]?key|authorization|cookie|session_id"
)
_NAME = re.compile(rf"(?i).*(?:{_SECRET})$")
# What stands before a secret, and is kept, in a group of its own; then the secret.
_IN_TEXT = re.compile(
    rf"""(?ix)
    (?P<url> ://[^\s:/@]*: ) (?!\d{{1,5}}(?:[/?\#\s]|$)) \S+ (?=@)
    | (?P<key> (?P<q>['"])[\w-]*(?:{_SECRET})(?P=q) \s*[:=,]\s* )
      (?: (?P<r>['"]).*?(?:(?P=r)|$) | [^\s,}}\]]+ )
    | (?P<pair> \b[\w-]*(?:{_SECRET})\s?=\s? ) (?: '[^']*' | "[^"]*" | [^\s&'";)]+ )
    | (?P<header> \b(?:[\w-]*api-?key|(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*token)
      \s*:\s* ) [^\r\n'"]+
    """
)
_KEPT = ("url", "key", "pair", "header")
_CAUSES = re.compile("[=:'\"]")
_QUOTED = re.compile(r'"[^"]*"')
_LINE = re.compile(r"\nLINE \d+: .*(?:\n *\^)?")


def is_secret(name: str) -> bool:
    """Whether a field of this name is never shown."""
    return _NAME.match(name) is not None


def masked(text: str) -> str:
    """The text without the secrets that can be seen in it."""
    if _CAUSES.search(text) is None:  # PERF: nearly every line
        return text
    return _IN_TEXT.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    return next(found[name] for name in _KEPT if found[name] is not None) + MASK


def tidied(text: str, error: BaseException | None) -> str:
    """What an error, or its traceback, says, as it may be kept."""
    return masked(without_rows(text, error))


def without_rows(text: str, error: BaseException | None) -> str:
    """A traceback's text without what a database's error repeats of a row or a parameter.

    PostgreSQL puts them into DETAIL and CONTEXT, into the message of data exceptions (class 22 of
    its error codes), and repeats a line of the statement.
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
        said = _said(diag, "message_primary")
        if said and _said(diag, "sqlstate").startswith("22"):
            text = _replaced(text, said, _QUOTED.sub(MASK, said))
    return text


def _replaced(text: str, said: str, by: str) -> str:
    """Also where its lines are indented, as those of a group's exceptions are."""
    lines = r"\n[ |]*".join(map(re.escape, said.split("\n")))
    return re.sub(lines, lambda _: by, text)


def _said(diag: object, part: str) -> str:
    said = getattr(diag, part, None)
    return said if isinstance(said, str) else ""
