"""What a log must not hold: secrets, and what clients send.

A password in an address (addresses.py), the value after `token=`, credentials in a header, a
private key, a field that is named like a secret, and of a database error the parts that repeat a
row (rows.py).
"""

from __future__ import annotations

from ...expression import expression
from .addresses import without_passwords
from .rows import MASK, without_parts, without_rows

_SECRET = (
    r"password|passwd|passphrase|passcode|passkey|pwd|secret|token|credentials?|cookie"
    r"|session_?id|jwt|(?:api|access|private|signing|cryption)[_-]?key|private[_-]?pem"
    r"|authorization|signature(?==|%3d)"  # of an address that is signed for whoever has it
)
# These are words of their own, and parts of others: `bypass`, `author`.
_SHORT = r"(?:(?<![a-z0-9])(?:pass|auth)|(?<=(?<![a-z0-9])o)tp)"
_NAME = expression(
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
_PAIR = expression(
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
_WORD = expression(
    b"pass(?:word|wd|phrase|code|key|[\\\\\"'=%])|pwd|secret|token|credential|cookie|session_?id|jwt"
    b"|api[_-]?key|access[_-]?key|private[_-]?(?:key|pem)|signing[_-]?key|tp[\\\\\"'=%]"
    b"|auth(?:orization|[\\\\\"'=%])|bearer|cryption[_-]?key|signature(?:=|%3d)"
)
_PEM = expression(
    r"(?s)(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)"
    r".*?(-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_BRACKET = expression(r"""\\++['"]?|['"]|[][(){}]""")


def is_secret(name: str) -> bool:
    """Whether a field of this name is never shown."""
    return _NAME.search(name) is not None


def masked(text: str) -> str:
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


def tidied(text: str, told: object) -> str:
    """What an error, or its traceback, says, as it may be kept. told: it, or what holds it."""
    return masked(without_rows(text, told))
