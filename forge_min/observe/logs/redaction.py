"""Redaction of logs: secrets, and the row values that errors of a database repeat.

`redact` reads a text. It replaces a password in a URL, the value after `token=`, credentials in a
header, a private key, the value of a field named like a secret, and the parts of a database error
that repeat a row. `redact_error` also reads the exceptions that a text comes from.

PostgreSQL repeats values in DETAIL, CONTEXT and QUERY, in the message of data exceptions (class 22
of its error codes), in LINE (a line of the statement), and in the message of a syntax error: after
an unterminated literal, the rest of the statement is "at or near" it.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from ...lazy import lazy_pattern

MASK = "***"

# -- secrets ---------------------------------------------------------------------------------------

_SECRET = (
    r"password|passwd|passphrase|passcode|passkey|pwd|secret|token|credentials?|cookie"
    r"|session_?id|jwt|(?:api|access|private|signing|cryption)[_-]?key|private[_-]?pem"
    r"|authorization|signature(?==|%3d)"  # of an address that is signed for whoever has it
)
# These are words of their own, and parts of others: `bypass`, `author`.
_SHORT = r"(?:(?<![a-z0-9])(?:pass|auth)|(?<=(?<![a-z0-9])o)tp)"
_NAME = lazy_pattern(
    rf"(?i)(?:{_SECRET})s?(?:[_-](?:access[_-]?)?(?:key|hash|value)s?)?$"
    rf"|{_SHORT}$|(?-i:(?<=[a-z])(?:Pass|Otp|Auth)$)"
)
# SAFETY: every repeat is possessive or has a small bound, so that the time grows as the text does:
# clients choose what a line of the log holds, and `re` keeps all other threads from running.
_STRING = """[bru]{0,2}(?:'(?:[^'\\\\]|\\\\.|'')*+(?:'|$)|"(?:[^"\\\\]|\\\\.)*+(?:"|$))"""
# The first sign of a list, of an object, of a string that is escaped, or of a call.
_OPEN = r"""[\[{(] | \\++['"] | [\w.]{1,64}\((?=[bru]{0,2}\\*+['"\[{(])"""
# To the next field of a query: & and a name; to a quote or a bracket that ends a sentence's part.
_BARE = r"""(?: [^\s&'";)\\] | \\. | [&;](?! [\s&;] | [\w.%\[\]-]{1,64}= | $ ) | ['")](?=\w) )++"""
# What stands before a secret, and is kept, in a group of its own; then the secret.
_PAIR = lazy_pattern(
    rf"""(?isx)
    (?P<header> (?:authorization|cookie) \s{{0,4}} [:=] \s{{0,4}} ) [^\r\n]++
    | (?P<key> (?: (?:{_SECRET}) [\w-]{{0,24}} \\*+['"] \s{{0,40}} (?:[:,]|=>?)
                 | {_SHORT} \\*+['"] \s{{0,40}} (?::|=>?) ) \s{{0,40}} )
      (?: {_STRING} | (?P<opened>{_OPEN}) | [^\s,}}\]]++ )
    | (?P<pair> (?:{_SECRET}) [\w-]{{0,24}} (?: (?:\[|%5b) [\w-]{{0,24}} )? (?:\]|%5d)?
                \s{{0,4}} (?::=|=>?|:|%3d) \s{{0,4}}
              | {_SHORT} (?:=|%3d) )
      (?: {_STRING} | (?P<begun>{_OPEN}) | (?:(?:bearer|basic)\s{{1,4}})? {_BARE} )
    | (?P<clause> pass(?:word|wd|phrase) \s{{1,40}} )
      (?:e|u&)?'(?:[^'\\]|\\.|'')*+(?:'|$)
    | (?P<option> (?<=--)(?:{_SECRET}) [\w-]{{0,24}} \s{{1,4}} ) [^\s-]\S*+
    | (?P<tag> (?:{_SECRET}) [\w-]{{0,24}} > ) [^<]{{1,500}}+(?=</)
    | (?P<scheme> bearer\s{{1,4}} ) [^\s'",;]{{8}}[^\s'",;]*+
    """
)
_KEPT = ("header", "key", "pair", "clause", "option", "tag", "scheme")
# PERF: all that `_PAIR` can begin with, to be looked for in small letters: a tenth of its time, as
# long as few letters begin it: of `otp` and `encryption_key` what follows is looked for.
_WORD = lazy_pattern(
    b"pass(?:word|wd|phrase|code|key|[\\\\\"'=%])|pwd|secret|token|credential|cookie|session_?id|jwt"
    b"|api[_-]?key|access[_-]?key|private[_-]?(?:key|pem)|signing[_-]?key|tp[\\\\\"'=%]"
    b"|auth(?:orization|[\\\\\"'=%])|bearer|cryption[_-]?key|signature(?:=|%3d)"
)
_PEM = lazy_pattern(
    r"(?s)(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)"
    r".*?(-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_BRACKET = lazy_pattern(r"""\\++['"]?|['"]|[][(){}]""")


def is_secret(name: str) -> bool:
    """Whether a field of this name is never shown."""
    return _NAME.search(name) is not None


def redact(text: str) -> str:
    """The text without the secrets that can be seen in it, and without a database's rows."""
    if "://" in text:
        text = without_passwords(text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(rf"\1{MASK}\2", text)
    if ":  " in text or "LINE " in text:
        text = without_parts(text)
    parts, done = [], 0
    for word in _WORD.finditer(text.encode("ascii", "replace").lower()):
        if word.start() >= done and (found := _PAIR.match(text, word.start())):
            kept = next(found[name] for name in _KEPT if found[name] is not None)
            parts += [text[done : word.start()], kept, MASK]
            done = found.end()
            if found["opened"] or found["begun"]:
                done = _closed(text, found["opened"] or found["begun"], done)
    return "".join([*parts, text[done:]]) if done else text


def _closed(text: str, first: str, start: int) -> int:
    """Where the bracket or the string that begins with `first` ends; the text's end, if not at all.

    In a text that is escaped, a string ends at a quote that is escaped as its first one is.
    """
    depth, quote, escapes = 1, "", 0
    if first[-1] in "'\"":
        depth, quote, escapes = 0, first[-1], len(first) - 1
    for found in _BRACKET.finditer(text, start):
        sign, slashes = found[0][-1], len(found[0]) - 1
        if quote:
            if sign == quote and (slashes - escapes) % (2 * escapes + 2) == 0:
                quote = ""
                if not depth:
                    return found.end()
        elif sign in "'\"":
            quote, escapes = sign, slashes
        elif sign in "[{(":
            depth += 1
        elif sign != "\\":
            depth -= 1
            if not depth:
                return found.end()
    return len(text)


# -- passwords in addresses: `scheme://user:password@host` -----------------------------------------
# A password may hold what an address must not, such as spaces, / and @. A port is not a password;
# in an address of the web, a long user without a password is a token.

_WORDS = 6  # of a password with spaces
_TOKEN = lazy_pattern(r"[^/?#:@\s]{20,}+(?=@)")
_PORT = lazy_pattern(r"\d{1,5}(?:[/?#\s\"',;)\]}>]|$)")
_PORT_AND_PATH = lazy_pattern(r"\d{1,5}[/?#]")
_WEB = lazy_pattern(r"(?i)(?:https?|wss?|s?ftps?|ssh)$")  # whose paths hold an @ more than often
_ONE_MORE = lazy_pattern(r"\s[^\s@]*+@\S*+")


def without_passwords(text: str) -> str:
    """The text with every password redact that stands between `://user:` and an @."""
    # SAFETY: each piece is looked at once, so that the time grows as the text does.
    pieces = text.split("://")
    told, n = [pieces[0]], 1
    while n < len(pieces):
        first = n
        while n + 1 < len(pieces) and _goes_on(pieces[n]):
            n += 1
        web = _WEB.search(pieces[first - 1][-5:]) is not None
        told.append(_without("://".join(pieces[first : n + 1]), web))
        n += 1
    return "://".join(told)


def _goes_on(piece: str) -> bool:
    """Whether the `://` that follows belongs to a password."""
    user, colon, rest = piece.partition(":")
    if not colon or "/" in user or "@" in piece or _PORT.match(rest):
        return False
    return not any(map(str.isspace, piece))


def _without(piece: str, web: bool) -> str:
    """What follows one `://`. web: a port and a path may stand before an @."""
    head = piece.split(None, 1)[0] if piece and not piece[0].isspace() else ""
    if web and (token := _TOKEN.match(head)):
        return MASK + piece[token.end() :]
    user, colon, password = head.partition(":")
    if not colon or "/" in user:
        return piece
    if "@" in password:
        if user and web and _PORT_AND_PATH.match(password):
            return piece
        more = _ONE_MORE.match(piece, len(head))
        end = piece.rfind("@", 0, more.end() if more else len(head))
    elif user and _PORT.match(password):
        return piece
    else:
        end = piece.find("@", len(head))
        if end < 0 or len(piece[:end].split(None, _WORDS)) > _WORDS:
            return piece
    return f"{user}:{MASK}{piece[end:]}"


# -- values that PostgreSQL repeats ----------------------------------------------------------------

_PLAIN = frozenset((str, int, float, bool, type(None)))  # PERF: most values that are logged
_COLLECTIONS: tuple[Any, ...] = (list, tuple, set, frozenset)
_SYNTAX_ERROR = "42601"  # PostgreSQL manual, appendix A
# From the first quote to the last, in any language of the server: values hold quotes themselves.
_QUOTED = lazy_pattern('["«»„“”].*["«»„“”]|["«»„“”].*', re.S)
# SAFETY: linear in the text, as above. As libpq writes it, then escaped.
_LINE = lazy_pattern(
    r"\n[ |]*+LINE \d+: .*(?:\n[ |]*+\^)?"
    r"|\\n[ |]*+LINE \d+: (?:[^\\\n]|\\[^\nn])*+(?:\\n[ |]*+\^)?"
)
_PART = lazy_pattern(
    r"""(?sx)
    ( (?:\A|\n)[ |]*+(?:DETAIL|QUERY|CONTEXT):[ ]{2} ) (?! \*\*\*(?:\n|\Z) )
      .*? (?= \n[ |]*+HINT:[ ]{2} | \n\n(?:During[ ]handling|The[ ]above) | \Z )
    | ( \\n[ |]*+(?:DETAIL|QUERY|CONTEXT):[ ]{2} ) (?! \*\*\*(?:\\n|['"\n]|\Z) )
      [^\n]*? (?= \\n[ |]*+HINT:[ ]{2} | \n | \Z )
    """
)


def without_parts(text: str) -> str:
    """The text without what follows DETAIL, QUERY and CONTEXT, and without LINE.

    Whoever wrote it, an error, or `str()` or `repr()` of one: to the end, where a value in it may
    hold anything, but for a HINT.
    """
    if "LINE " in text:
        text = _LINE.sub("", text)
    if ":  " in text:
        text = _PART.sub(lambda found: (found[1] or found[2]) + MASK, text)
    return text


def without_rows(text: str, source: object) -> str:
    """What tells of an error, or of what holds errors, without what they repeat of a row.

    Finds their parts as they are, and as `repr()` and JSON escape them. source: also a collection.
    """
    for error in _errors(source):
        diag = _of(error, "diag")
        if diag is None:
            continue
        for part in ("message_detail", "internal_query", "context"):
            if said := _said(diag, part):
                text = _replaced(text, said, MASK)
        said, state = _said(diag, "message_primary"), _said(diag, "sqlstate")
        if said and (state == _SYNTAX_ERROR or state.startswith("22")):
            text = _replaced(text, said, _QUOTED.sub(MASK, said))
    return text


def _errors(told: object) -> Iterator[BaseException]:
    """Those in it, their causes, and what they were made of; each once."""
    seen: set[int] = set()
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if type(one) in _PLAIN or id(one) in seen:
            continue
        # SAFETY: by the object's type: what it says of its class (a proxy), or gives to who goes
        # through it, is code of somebody else, which may raise.
        kind = type(one)
        if issubclass(kind, BaseException):
            yield one  # type: ignore[misc]
            names = ("__cause__", "__context__", "args", "exceptions")
            waiting += [_of(one, name) for name in names]
        elif issubclass(kind, dict):
            waiting += [*dict.keys(one), *dict.values(one)]  # type: ignore[arg-type]
        elif base := next((base for base in _COLLECTIONS if issubclass(kind, base)), None):
            waiting += base.__iter__(one)
        else:
            continue
        seen.add(id(one))


def _of(one: object, name: str) -> Any:
    """An attribute; None where its own class raises."""
    try:
        return getattr(one, name, None)
    except Exception:
        return None


def _forms(text: str) -> tuple[str, ...]:
    """The text as it is, as `repr()` escapes it between each kind of quotes, and as JSON does."""
    in_repr = repr('"' + text)[2:-1]
    return text, in_repr, in_repr.replace("\\'", "'"), json.dumps(text)[1:-1]


def _replaced(text: str, said: str, by: str) -> str:
    """Also where it is escaped, or its lines are indented, as those of a group's errors are."""
    for form, shown in zip(_forms(said), _forms(by)):
        text = text.replace(form, shown)
    if "\n" in said and " | " in text:
        lines = r"\n[ |]*".join(map(re.escape, said.split("\n")))
        text = re.sub(lines, lambda _: by, text)
    return text


def _said(diag: object, part: str) -> str:
    said = _of(diag, part)
    return said if isinstance(said, str) else ""


# -- exceptions ------------------------------------------------------------------------------------


def redact_error(text: str, source: object) -> str:
    """What an error, or its traceback, says, as it may be kept. source: it, or what holds it."""
    return redact(without_rows(text, source))


def format_traceback(
    error: BaseException | None,
    trace: TracebackType | None = None,
    *,
    limit: int | None = None,
    most: int | None = None,
) -> str:
    """The redacted traceback of `error`.

    trace: None is its own. limit: frames, as of traceback.format_exception. most: characters that
    are read.
    """
    trace = trace or (error.__traceback__ if error else None)
    try:
        kind = None if error is None else type(error)
        text = "".join(traceback.format_exception(kind, error, trace, limit))
    except Exception:  # before Python 3.13 it asks the class for more, and that raised
        lines = "".join(traceback.format_tb(trace, limit))
        last = f"{name_of(error)}: {message_of(error)}\n"
        text = f"Traceback (most recent call last):\n{lines}{last}"
    return redact_error(text[:most], error)


def name_of(error: BaseException | None) -> str:
    """Its class, as Python's traceback names it."""
    kind = type(error)
    plain = kind.__module__ in ("builtins", "")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException | None) -> str:
    """What it says of itself, or that it cannot."""
    try:
        return str(error)
    except Exception:  # as its traceback says
        return "<exception str() failed>"
