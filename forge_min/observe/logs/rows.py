"""What a log must not hold of a database's errors: the parts that repeat a row or a statement.

PostgreSQL repeats values in DETAIL, CONTEXT and QUERY, in the message of data exceptions (class 22
of its error codes), in LINE (a line of the statement), and in a syntax error's message, where what
follows a literal without an end is all "at or near" it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ...expression import expression

MASK = "***"

_PLAIN = frozenset((str, int, float, bool, type(None)))  # PERF: most values that are logged
_COLLECTIONS: tuple[Any, ...] = (list, tuple, set, frozenset)
_SYNTAX_ERROR = "42601"  # PostgreSQL manual, appendix A
# From the first quote to the last, in any language of the server: values hold quotes themselves.
_QUOTED = expression('["«»„“”].*["«»„“”]|["«»„“”].*', re.S)
# SAFETY: linear in the text, as what masks.py says of its own. As libpq writes it, then escaped.
_LINE = expression(
    r"\n[ |]*+LINE \d+: .*(?:\n[ |]*+\^)?"
    r"|\\n[ |]*+LINE \d+: (?:[^\\\n]|\\[^\nn])*+(?:\\n[ |]*+\^)?"
)
_PART = expression(
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


def without_rows(text: str, told: object) -> str:
    """What tells of an error, or of what holds errors, without what they repeat of a row.

    Finds their parts as they are, and as `repr()` and JSON escape them. told: also a collection.
    """
    for error in _errors(told):
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


def _as_it_is(text: str) -> str:
    return text


def _in_repr(text: str) -> str:
    """With both kinds of quotes around it in mind: the single ones are escaped."""
    return repr('"' + text)[2:-1]


def _in_double_quotes(text: str) -> str:
    return _in_repr(text).replace("\\'", "'")


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


_FORMS: tuple[Callable[[str], str], ...] = (_as_it_is, _in_repr, _in_double_quotes, _in_json)


def _replaced(text: str, said: str, by: str) -> str:
    """Also where it is escaped, or its lines are indented, as those of a group's errors are."""
    for form in _FORMS:
        text = text.replace(form(said), form(by))
    if "\n" in said and " | " in text:
        lines = r"\n[ |]*".join(map(re.escape, said.split("\n")))
        text = re.sub(lines, lambda _: by, text)
    return text


def _said(diag: object, part: str) -> str:
    said = _of(diag, part)
    return said if isinstance(said, str) else ""
