"""What a field's pattern may hold: what means the same to Python and to ECMAScript.

A pattern is enforced by `re` and told to clients in OpenAPI, whose readers use ECMAScript's.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence

from .backtracking import Automaton
from .diagnostic import Problem, problem, quote

MAX_PATTERN = 500  # characters
LONGEST = 1 << 20  # characters of a text without max_len: server.max_body
STEPS = 20_000_000  # that a search may take: some tenths of a second
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


def pattern_problem(pattern: str, longest: int | None = None) -> Problem | None:
    """Why `pattern` may not stand, None if it may. longest: characters of a value."""
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
    return _too_slow(tokens, longest or LONGEST)


def _too_slow(tokens: Sequence[str], longest: int) -> Problem | None:
    if not any(token[0] in "*+{" for token in tokens):
        return None
    try:
        automaton = Automaton(tokens)
        if automaton.is_exponential():
            return problem("pattern_exponential")
    except (ValueError, RecursionError):
        return problem("pattern_size")
    degree = automaton.degree()
    # As many ways to divide a text between `degree` loops.
    if degree > 1 and longest**degree / math.factorial(degree) > STEPS:
        most = int((STEPS * math.factorial(degree)) ** (1 / degree))
        return problem("pattern_slow", longest=longest, most=most)
    return None
