"""What a field's pattern may hold: what means the same to Python and to ECMAScript.

A pattern is enforced by `re` and told to clients in OpenAPI, whose readers use ECMAScript's.
"""

from __future__ import annotations

import re
import warnings

from .backtracking import takes_too_long
from .diagnostic import Problem, problem, quote

MAX_PATTERN = 500  # characters
_ESCAPE = r"[dDwWsSfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\^$\\.*+?()\[\]{}|/]"
# What ECMA-262, section 22.2.1, allows with the flag u; "[" in a set is for its flag v.
_TOKEN = re.compile(
    rf"""\\(?: {_ESCAPE} | [bB] )                         # an escape
    | \[ \^? (?: \\(?: {_ESCAPE} | - ) | [^\\\[\]] )+ \]  # a set
    | \( (?: \?: | (?!\?) )                               # the start of a group
    | (?: [*+?] | \{{[0-9]+(?:,[0-9]*)?\}} ) \?? (?![*+?{{])
    | [^\\\[\](){{}}*+?] | \)                             # a character, ^, $, |""",
    re.VERBOSE,
)


def pattern_problem(pattern: str) -> Problem | None:
    """Return the reason why a pattern is refused, or None."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        return problem("pattern_length", most=MAX_PATTERN)
    at, tokens = 0, []
    while found := _TOKEN.match(pattern, at):
        tokens.append(found[0])
        at = found.end()
    if at < len(pattern):
        return problem("pattern_token", word=quote(pattern[at : at + 3]), at=at + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a later Python will read in another way
            re.compile(pattern, re.ASCII)
    except (re.error, FutureWarning, OverflowError, RecursionError) as err:
        return problem("pattern_syntax", why=err)
    return problem("pattern_exponential") if takes_too_long(tokens) else None
