"""The text of a statement for a trace: without literals and comments.

Source: PostgreSQL manual, section 4.1.
"""

from __future__ import annotations

import re
from functools import cache

from ..lazy import lazy_pattern

# PERF: character classes that exclude ASCII. For a range up to the last code point, re.compile
# builds a map, which made the start of a process 20 ms longer (benchmarks/build.py).
_FIRST = r"[^\x00-@\[-\^`{-\x7f]"  # of a name: letters, _, all characters beyond ASCII
_REST = r"[^\x00-\x23\x25-/:-@\[-\^`{-\x7f]"  # also digits and $
_TAG = r"[^\x00-/:-@\[-\^`{-\x7f]"  # also digits
_OTHER = r"[\x00-\x20!\#%&()*+,.:;<=>?@\[-\^`{-\x7f]"
_ESCAPED = r"""' (?: [^'\\]++ | '' | \\.  # or it continues after the end of a line
        | ' (?: [^\S\n\r] | --[^\n\r]*+ )*+ [\n\r] (?: \s | --[^\n\r]*+ )*+ ' )*+ (?: ' | \\?\Z )"""
_PLAIN = r"' (?: [^']++ | '' )*+ (?: ' | \Z )"
_WORD = lazy_pattern(r"\s*+(\w+)")
_READ = 8000  # characters of a text that are read
_KEPT = 2000  # characters that are kept


# PERF: every repeat is possessive (`*+`), so that any text is read once; with backtracking each
# comment can double the time (tests/observe/test_statements.py). The parts that stay are matched in
# runs: word by word took twice as long.
@cache
def _token(text: str) -> re.Pattern[str]:
    """Return the pattern of one token, compiled at the first use.

    text: the pattern of a literal without the prefix E.
    """
    return re.compile(rf"""(?sx)
    (?P<kept> (?: (?![eE]') {_FIRST}{_REST}*+
        | \$[0-9]++ | " (?: [^"]++ | "" )*+ "
        | {_OTHER}++ | -(?!-) | /(?!\*) )++ )
    | [eE]{_ESCAPED}
    | {text}
    | " .*
    | \$ (?P<tag> (?: {_FIRST}{_TAG}*+ )?+ ) \$
      .*? (?: \$(?P=tag)\$ | \Z )
    | (?P<comment> --[^\n\r]*+
        | /\* (?: [^*/]++ | \*(?!/) | /(?!\*) )*+ (?: \*/ | /\*.* | \Z ) )
    | 0[xXoObB][0-9a-fA-F_]++ | [0-9][0-9_]*+ (?: \.[0-9_]*+ )?+ (?: [eE][+-]?[0-9][0-9_]*+ )?+
    """)


def without_values(text: str, *, escapes: bool = False) -> str:
    """Return a statement with `?` for its literals and without comments, at most 2,000 characters.

    A literal or comment without an end, by mistake or because the text was cut, ends with the text.
    A nested comment hides the rest of the text.

    escapes: whether a backslash escapes in every literal: `standard_conforming_strings` is off.
    """
    token = _token(_ESCAPED if escapes else _PLAIN)
    return token.sub(_replacement, text[:_READ])[:_KEPT]


def operation(statement: str) -> str:
    """Return the first word of a result of `without_values` in capitals, QUERY if it has none."""
    word = _WORD.match(statement)
    return word[1].upper() if word else "QUERY"


def _replacement(match: re.Match[str]) -> str:
    return match["kept"] or ("?" if match["comment"] is None else "")
