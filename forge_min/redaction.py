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

from .lazy import lazy_pattern

MASK = "***"

# -- secrets ---------------------------------------------------------------------------------------

_SECRET = (
    r"password|passwd|passphrase|passcode|passkey|pwd|secret|token|credentials?|cookie"
    r"|session_?id|jwt|(?:api|access|private|signing|cryption)[_-]?key|private[_-]?pem"
    r"|authorization|signature(?==|%3d)"  # of a signed URL
)
# Matched as whole words only: they are parts of others, such as `bypass` and `author`.
_SHORT = r"(?:(?<![a-z0-9])(?:pass|auth)|(?<=(?<![a-z0-9])o)tp)"
_NAME = lazy_pattern(
    rf"(?i)(?:{_SECRET})s?(?:[_-](?:access[_-]?)?(?:key|hash|value)s?)?$"
    rf"|{_SHORT}$|(?-i:(?<=[a-z])(?:Pass|Otp|Auth)$)"
)
# SAFETY: every repeat is possessive or has a small bound, so that the time is linear in the text:
# clients choose the content of log lines, and `re` blocks all other threads while it runs.
_STRING = """[bru]{0,2}(?:'(?:[^'\\\\]|\\\\.|'')*+(?:'|$)|"(?:[^"\\\\]|\\\\.)*+(?:"|$))"""
# The start of a list, an object, an escaped string, or a call.
_OPEN = r"""[\[{(] | \\++['"] | [\w.]{1,64}\((?=[bru]{0,2}\\*+['"\[{(])"""
# Up to the next field of a query, `&name=`, or to a quote or bracket that ends a clause.
_BARE = r"""(?: [^\s&'";)\\] | \\. | [&;](?! [\s&;] | [\w.%\[\]-]{1,64}= | $ ) | ['")](?=\w) )++"""
# The text before a secret, which is kept, in a group of its own; then the secret.
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
# PERF: the possible starts of `_PAIR`, searched in lower case: a tenth of its time, as long as they
# start with few letters: for `otp` and `encryption_key` only the ends of these words are searched.
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
    """Return whether the value of a field with this name is never shown."""
    return _NAME.search(name) is not None


def redact(text: str) -> str:
    """Return the text without recognizable secrets and without row values of a database error."""
    if "://" in text:
        text = mask_passwords(text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(rf"\1{MASK}\2", text)
    if "LINE " in text:
        text = _LINE.sub("", text)
    if ":  " in text:
        text = _PART.sub(lambda part: (part[1] or part[2]) + MASK, text)
    parts = []
    done = 0
    for word in _WORD.finditer(text.encode("ascii", "replace").lower()):
        start = word.start()
        if start < done:
            continue
        pair = _PAIR.match(text, start)
        if pair is None:
            continue
        kept = next(pair[name] for name in _KEPT if pair[name] is not None)
        parts += [text[done:start], kept, MASK]
        done = pair.end()
        opening = pair["opened"] or pair["begun"]
        if opening:
            done = _end_of(text, opening, done)
    if not done:
        return text
    parts.append(text[done:])
    return "".join(parts)


def _end_of(text: str, first: str, start: int) -> int:
    """Return the end of the bracket or string that starts with `first`, by default of the text.

    In an escaped text, a string ends at a quote that is escaped like its first one.
    """
    depth = 1
    quote = ""
    escapes = 0
    if first[-1] in "'\"":
        depth = 0
        quote = first[-1]
        escapes = len(first) - 1
    for match in _BRACKET.finditer(text, start):
        sign = match[0][-1]
        slashes = len(match[0]) - 1
        if quote:
            if sign == quote and (slashes - escapes) % (2 * escapes + 2) == 0:
                quote = ""
                if not depth:
                    return match.end()
        elif sign in "'\"":
            quote = sign
            escapes = slashes
        elif sign in "[{(":
            depth += 1
        elif sign != "\\":
            depth -= 1
            if not depth:
                return match.end()
    return len(text)


# -- passwords in URLs: `scheme://user:password@host` ----------------------------------------------
# A password may contain characters that a URL must not, such as spaces, / and @. A port is not a
# password. In a web URL, a long user without a password is a token.

_WORDS = 6  # words of a password with spaces
_TOKEN = lazy_pattern(r"[^/?#:@\s]{20,}+(?=@)")
_PORT = lazy_pattern(r"\d{1,5}(?:[/?#\s\"',;)\]}>]|$)")
_PORT_AND_PATH = lazy_pattern(r"\d{1,5}[/?#]")
_WEB = lazy_pattern(r"(?i)(?:https?|wss?|s?ftps?|ssh)$")  # their paths often contain an @
_ONE_MORE = lazy_pattern(r"\s[^\s@]*+@\S*+")


def mask_passwords(text: str) -> str:
    """Mask every password between `://user:` and an @."""
    # SAFETY: each piece is read once, so that the time is linear in the text.
    pieces = text.split("://")
    masked = [pieces[0]]
    end = 1
    while end < len(pieces):
        start = end
        while end + 1 < len(pieces) and _continues(pieces[end]):
            end += 1
        end += 1
        scheme = pieces[start - 1][-5:]
        is_web = _WEB.search(scheme) is not None
        masked.append(_mask_password("://".join(pieces[start:end]), is_web))
    return "://".join(masked)


def _continues(piece: str) -> bool:
    """Return whether the `://` after this piece belongs to a password."""
    user, colon, password = piece.partition(":")
    if not colon or "/" in user or "@" in piece or _PORT.match(password):
        return False
    return not any(map(str.isspace, piece))


def _mask_password(piece: str, is_web: bool) -> str:
    """Mask the text after a `://`. is_web: a port and a path may precede an @."""
    head = ""
    if piece and not piece[0].isspace():
        head = piece.split(None, 1)[0]
    token = _TOKEN.match(head)
    if is_web and token:
        return MASK + piece[token.end() :]
    user, colon, password = head.partition(":")
    if not colon or "/" in user:
        return piece
    if "@" in password:
        if user and is_web and _PORT_AND_PATH.match(password):
            return piece
        password_end = len(head)
        next_word = _ONE_MORE.match(piece, password_end)
        if next_word:
            password_end = next_word.end()
        end = piece.rfind("@", 0, password_end)
    elif user and _PORT.match(password):
        return piece
    else:
        end = piece.find("@", len(head))
        if end < 0 or len(piece[:end].split(None, _WORDS)) > _WORDS:
            return piece
    return f"{user}:{MASK}{piece[end:]}"


# -- row values in errors of PostgreSQL ------------------------------------------------------------

_PLAIN = frozenset((str, int, float, bool, type(None)))  # PERF: most values that are logged
_COLLECTIONS: tuple[Any, ...] = (list, tuple, set, frozenset)
_SYNTAX_ERROR = "42601"  # PostgreSQL manual, appendix A
# From the first quote to the last, in any language of the server: values may contain quotes.
_QUOTED = lazy_pattern('["«»„“”].*["«»„“”]|["«»„“”].*', re.S)
# SAFETY: linear in the text, as above. First as libpq formats it, then escaped.
_LINE = lazy_pattern(
    r"\n[ |]*+LINE \d+: .*(?:\n[ |]*+\^)?"
    r"|\\n[ |]*+LINE \d+: (?:[^\\\n]|\\[^\nn])*+(?:\\n[ |]*+\^)?"
)
# The text after DETAIL, QUERY and CONTEXT in the message of an error, its `str()` and its `repr()`.
# A value may contain any text, so everything up to the end is masked, except a HINT.
_PART = lazy_pattern(
    r"""(?sx)
    ( (?:\A|\n)[ |]*+(?:DETAIL|QUERY|CONTEXT):[ ]{2} ) (?! \*\*\*(?:\n|\Z) )
      .*? (?= \n[ |]*+HINT:[ ]{2} | \n\n(?:During[ ]handling|The[ ]above) | \Z )
    | ( \\n[ |]*+(?:DETAIL|QUERY|CONTEXT):[ ]{2} ) (?! \*\*\*(?:\\n|['"\n]|\Z) )
      [^\n]*? (?= \\n[ |]*+HINT:[ ]{2} | \n | \Z )
    """
)


def _errors(source: object) -> Iterator[BaseException]:
    """Yield each error in an object, with its causes and the errors in its arguments, once."""
    seen = set()
    stack = [source]
    while stack:
        item = stack.pop()
        if type(item) in _PLAIN or id(item) in seen:
            continue
        # SAFETY: by the type of the object: its `__class__` (of a proxy) and its own iteration may
        # run any code, which may raise.
        kind = type(item)
        if issubclass(kind, BaseException):
            yield item  # type: ignore[misc]
            names = ("__cause__", "__context__", "args", "exceptions")
            stack += [safe_attribute(item, name) for name in names]
        elif issubclass(kind, dict):
            stack += [*dict.keys(item), *dict.values(item)]  # type: ignore[arg-type]
        else:
            base = next((base for base in _COLLECTIONS if issubclass(kind, base)), None)
            if base is None:
                continue
            stack += base.__iter__(item)
        seen.add(id(item))


def safe_attribute(item: object, name: str) -> Any:
    """Return an attribute, None if the object's class raises."""
    try:
        return getattr(item, name, None)
    except Exception:
        return None


def _forms(text: str) -> tuple[str, ...]:
    """Return a text plain, as `repr()` escapes it in either kind of quotes, and as JSON does."""
    in_repr = repr('"' + text)[2:-1]
    return text, in_repr, in_repr.replace("\\'", "'"), json.dumps(text)[1:-1]


def _replace(text: str, old: str, new: str) -> str:
    """Replace a text, also escaped, or with indented lines as in an exception group."""
    for old_form, new_form in zip(_forms(old), _forms(new)):
        text = text.replace(old_form, new_form)
    if "\n" in old and " | " in text:
        lines = r"\n[ |]*".join(map(re.escape, old.split("\n")))
        text = re.sub(lines, lambda _: new, text)
    return text


def _diag_text(diag: object, name: str) -> str:
    value = safe_attribute(diag, name)
    if isinstance(value, str):
        return value
    return ""


# -- exceptions ------------------------------------------------------------------------------------


def redact_error(text: str, source: object) -> str:
    """Redact the text of an error, and row values in it, plain or as `repr()` and JSON escape them.

    source: the error, or a collection that contains it.
    """
    for error in _errors(source):
        diag = safe_attribute(error, "diag")
        if diag is None:
            continue
        for name in ("message_detail", "internal_query", "context"):
            part = _diag_text(diag, name)
            if part:
                text = _replace(text, part, MASK)
        message = _diag_text(diag, "message_primary")
        state = _diag_text(diag, "sqlstate")
        if message and (state == _SYNTAX_ERROR or state.startswith("22")):
            text = _replace(text, message, _QUOTED.sub(MASK, message))
    return redact(text)


def format_traceback(
    error: BaseException | None,
    trace: TracebackType | None = None,
    *,
    limit: int | None = None,
    most: int | None = None,
) -> str:
    """Return the redacted traceback of an error.

    trace: default that of the error.
    limit: frames, as for traceback.format_exception.
    most: characters to read.
    """
    if error is not None:
        trace = trace or error.__traceback__
    try:
        text = "".join(traceback.format_exception(None, error, trace, limit))
    except Exception:  # before Python 3.13 it reads attributes of the class, which may raise
        lines = "".join(traceback.format_tb(trace, limit))
        last = f"{type_name(error)}: {error_message(error)}\n"
        text = f"Traceback (most recent call last):\n{lines}{last}"
    return redact_error(text[:most], error)


def type_name(error: BaseException | None) -> str:
    """Return the name of the error's class, as in Python's tracebacks."""
    kind = type(error)
    if kind.__module__ in ("builtins", ""):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_message(error: BaseException | None) -> str:
    """Return `str(error)`, or a fixed text if that raises."""
    try:
        return str(error)
    except Exception:  # the text of Python's tracebacks
        return "<exception str() failed>"
