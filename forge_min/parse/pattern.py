"""Checks a field's pattern: same meaning in Python and ECMAScript, and no exponential time.

`re` enforces the pattern. OpenAPI publishes it to clients, which use ECMAScript's syntax.

`re` tries every way to match a text, which takes exponential time with some patterns. So the
pattern becomes a position automaton (Glushkov). A search is exponential if two paths from a
position back to itself match the same text (Weber and Seidl, "On the degree of ambiguity of finite
automata"). A pattern with very many paths but no loop, such as "(a|aa)(a|aa)(a|aa)...", is refused
too. Polynomial time, as of "a*a*b", is not detected. A part that is repeated exactly n times,
n <= 6, counts once while it has few paths.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

from .diagnostic import SchemaProblem, problem, quote

MAX_PATTERN = 500  # characters
_ESCAPE = r"[dDwWsSfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\^$\\.*+?()\[\]{}|/]"
# Syntax of ECMA-262, section 22.2.1, with the flag u. "[" in a set is reserved for the flag v.
_TOKEN = re.compile(
    rf"""\\(?: {_ESCAPE} | [bB] )                         # an escape
    | \[ \^? (?: \\(?: {_ESCAPE} | - ) | [^\\\[\]] )+ \]  # a set
    | \( (?: \?: | (?!\?) )                               # the start of a group
    | (?: [*+?] | \{{[0-9]+(?:,[0-9]*)?\}} ) \?? (?![*+?{{])
    | [^\\\[\](){{}}*+?] | \)                             # a character, ^, $, |""",
    re.VERBOSE,
)


def pattern_problem(pattern: str) -> SchemaProblem | None:
    """Return the problem of a pattern, None if it is valid."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        return problem("pattern_length", most=MAX_PATTERN)
    tokens = []
    position = 0
    while match := _TOKEN.match(pattern, position):
        tokens.append(match[0])
        position = match.end()
    if position < len(pattern):
        word = quote(pattern[position : position + 3])
        return problem("pattern_token", word=word, at=position + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # its meaning changes in a later Python
            re.compile(pattern, re.ASCII)
    except (re.error, FutureWarning, OverflowError, RecursionError) as err:
        return problem("pattern_syntax", why=err)
    if takes_too_long(tokens):
        return problem("pattern_exponential")
    return None


COPIES = 6  # a part with more repetitions, or with a varying number of them, is treated as a loop
LOOP = 32  # paths that an unambiguous loop counts as
MAX_PATHS = 100_000  # of an ambiguous pattern: some ms
_LATIN = "".join(map(chr, range(256)))
_ANCHORS = ("^", "$", r"\b", r"\B")


class _Part(NamedTuple):
    """A part of the pattern: its first and last positions, and the number of paths at most."""

    first: list[int]
    last: list[int]
    nullable: bool
    paths: int = 1


def takes_too_long(tokens: Sequence[str]) -> bool:
    """Whether a pattern that `re` compiles takes exponential time. tokens: of the pattern."""
    automaton = Automaton(tokens)
    if automaton.paths > MAX_PATHS:
        # In a loop with an end that matches nothing, any two paths of a text are ambiguous.
        automaton = Automaton(["(", "(", *tokens, ")", r"[^\s\S]", ")", "*"], once=1)
    return automaton.is_exponential()


class Automaton:
    """The position automaton of a pattern.

    once: a part with more paths than this is a loop even if it is repeated exactly n times.
    """

    def __init__(self, tokens: Sequence[str], once: int = MAX_PATHS) -> None:
        self._once = once
        pool = _LATIN + "".join(tokens)
        self._chars: list[set[str]] = []  # the characters that a position matches
        self._follow: list[list[int]] = []  # the next positions, one entry per path
        groups: list[list[list[_Part]]] = []  # the branches of each enclosing group
        branches: list[list[_Part]] = [[]]
        for token in tokens:
            branch = branches[-1]
            if token[0] == "(":
                groups.append(branches)
                branches = [[]]
            elif token == "|":
                branches.append([])
            elif token == ")":
                part = self._choose(branches)
                branches = groups.pop()
                branches[-1].append(part)
            elif token[0] in "*+?{":
                branch[-1] = self._repeat(branch[-1], token)
            elif token not in _ANCHORS:
                position = [len(self._chars)]
                branch.append(_Part(position, position, nullable=False))
                self._chars.append(set(re.findall(token, pool, re.ASCII)))
                self._follow.append([])
        self.paths = self._choose(branches).paths

    def is_exponential(self) -> bool:
        """Whether a loop can match the same text on two paths."""
        loops = self._loops()
        pairs = [(position, position) for position in range(len(loops))]
        visited = set(pairs)
        while pairs:
            left, right = pairs.pop()
            for pair in product(loops[left], loops[right]):
                next_left, next_right = pair
                if next_left == next_right and left != right:
                    return True
                if pair not in visited and self._chars[next_left] & self._chars[next_right]:
                    visited.add(pair)
                    pairs.append(pair)
        return any(len(following) > len(set(following)) for following in loops)

    def _loops(self) -> list[list[int]]:
        """Return the next positions of each position from which a path leads back to it."""
        reachable = [set(following) for following in self._follow]
        for through, positions in product(range(len(reachable)), reachable):
            if through in positions:
                positions |= reachable[through]
        loops = []
        for position, following in enumerate(self._follow):
            loops.append([after for after in following if position in reachable[after]])
        return loops

    def _choose(self, branches: Iterable[Iterable[_Part]]) -> _Part:
        parts = [reduce(self._join, branch, _Part([], [], nullable=True)) for branch in branches]
        first = [position for part in parts for position in part.first]
        last = [position for part in parts for position in part.last]
        nullable = any(part.nullable for part in parts)
        return _Part(first, last, nullable, sum(part.paths for part in parts))

    def _join(self, part: _Part, following: _Part) -> _Part:
        for position in part.last:
            self._follow[position] += following.first
        first = part.first
        if part.nullable:
            first = first + following.first
        last = following.last
        if following.nullable:
            last = part.last + last
        nullable = part.nullable and following.nullable
        return _Part(first, last, nullable, part.paths * following.paths)

    def _repeat(self, part: _Part, token: str) -> _Part:
        sign = token[0]
        numbers = [int(digits) for digits in re.findall("[0-9]+", token)]
        least = 1 if sign == "+" else 0
        if numbers:
            least = numbers[0]
        paths = part.paths ** min(least, COPIES)
        if sign == "?":
            paths += part.paths
        paths = min(paths, MAX_PATHS + 1)
        is_loop = sign in "*+" or "," in token or least > COPIES
        if is_loop or (least > 1 and part.paths > self._once):
            self._join(part, part)
            paths = LOOP
            if sign == "{" and ",}" not in token and not part.nullable:
                paths = min(LOOP, numbers[-1] - least + 1)
        if part.nullable and least > 1:  # `re` tries every choice of empty repetitions
            self._join(part, part)
        return part._replace(nullable=part.nullable or not least, paths=paths)
