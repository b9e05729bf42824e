"""The text of a statement as a trace may hold it: without literals and comments.

Source: PostgreSQL manual, section 4.1.
"""

from __future__ import annotations

import re
from functools import cache

from ..lazy import lazy_pattern

# PERF: said by the ASCII that they are not: for a range up to the last character re.compile builds
# a map, which made the start of a process 20 ms longer (benchmarks/build.py).
_FIRST = r"[^\x00-@\[-\^`{-\x7f]"  # of a name: letters, _, and all beyond ASCII
_REST = r"[^\x00-\x23\x25-/:-@\[-\^`{-\x7f]"  # also digits and $
_TAG = r"[^\x00-/:-@\[-\^`{-\x7f]"  # also digits
_OTHER = r"[\x00-\x20!\#%&()*+,.:;<=>?@\[-\^`{-\x7f]"
_ESCAPED = r"""' (?: [^'\\]++ | '' | \\.  # or it goes on after the end of a line
        | ' (?: [^\S\n\r] | --[^\n\r]*+ )*+ [\n\r] (?: \s | --[^\n\r]*+ )*+ ' )*+ (?: ' | \\?\Z )"""
_PLAIN = r"' (?: [^']++ | '' )*+ (?: ' | \Z )"
_WORD = lazy_pattern(r"\s*+(\w+)")
_READ, _KEPT = 8000, 2000  # characters of a text that are looked at, and that are shown


# PERF: each part that repeats gives nothing back (`*+`), so that any text is read once; one that
# tries again can double its time with each comment (tests/observe/test_statements.py). What stays
# is found in runs: word by word it took twice as long.
@cache
def _token(text: str) -> re.Pattern[str]:
    """text: the form of one that begins with a quote alone."""
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


_STANDARD = _token(_PLAIN)


def without_values(text: str, *, escapes: bool = False) -> str:
    """Literals are `?`, comments left out; names stay. At most 2,000 characters.

    What has no end, be it by a mistake or as it was cut, ends with the text. A comment that holds
    another hides all that follows. escapes: whether a backslash is one in any text: with
    `standard_conforming_strings` off.
    """
    token = _token(_ESCAPED) if escapes else _STANDARD
    return token.sub(_shown, text[:_READ])[:_KEPT]


def operation(shown: str) -> str:
    """The first word of a text that `without_values` gave, in capitals; QUERY without any."""
    word = _WORD.match(shown)
    return word[1].upper() if word else "QUERY"


def _shown(found: re.Match[str]) -> str:
    return found["kept"] or ("?" if found["comment"] is None else "")
