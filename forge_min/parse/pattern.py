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
    at, tokens = 0, []
    while match := _TOKEN.match(pattern, at):
        tokens.append(match[0])
        at = match.end()
    if at < len(pattern):
        return problem("pattern_token", word=quote(pattern[at : at + 3]), at=at + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # its meaning changes in a later Python
            re.compile(pattern, re.ASCII)
    except (re.error, FutureWarning, OverflowError, RecursionError) as err:
        return problem("pattern_syntax", why=err)
    return problem("pattern_exponential") if takes_too_long(tokens) else None


COPIES = 6  # a part with more repetitions, or with a varying number of them, is treated as a loop
LOOP = 32  # paths that an unambiguous loop counts as
MAX_PATHS = 100_000  # of an ambiguous pattern: some ms
_LATIN = "".join(map(chr, range(256)))


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
        groups: list[list[list[_Part]]] = [[[]]]  # the branches of each open group
        for token in tokens:
            if token[0] == "(":
                groups.append([[]])
            elif token == "|":
                groups[-1].append([])
            elif token == ")":
                part = self._choose(groups.pop())
                groups[-1][-1].append(part)
            elif token[0] in "*+?{":
                part = groups[-1][-1].pop()
                groups[-1][-1].append(self._repeat(part, token))
            elif token not in ("^", "$", r"\b", r"\B"):
                here = [len(self._chars)]
                groups[-1][-1].append(_Part(here, here, nullable=False))
                self._chars.append({*re.findall(token, pool, re.ASCII)})
                self._follow.append([])
        self.paths = self._choose(groups.pop()).paths

    def is_exponential(self) -> bool:
        """Whether a loop can match the same text on two paths."""
        ahead = [{*following} for following in self._follow]
        for through, following in product(range(len(ahead)), ahead):
            if through in following:
                following |= ahead[through]
        loops = [[q for q in after if p in ahead[q]] for p, after in enumerate(self._follow)]
        todo = [(p, p) for p in range(len(loops))]
        seen = set(todo)
        while todo:
            one, other = todo.pop()
            for x, y in product(loops[one], loops[other]):
                if x == y and one != other:
                    return True
                if (x, y) not in seen and self._chars[x] & self._chars[y]:
                    seen.add((x, y))
                    todo.append((x, y))
        return any(len(following) > len({*following}) for following in loops)

    def _choose(self, branches: Iterable[Iterable[_Part]]) -> _Part:
        parts = [reduce(self._join, branch, _Part([], [], nullable=True)) for branch in branches]
        first = [p for part in parts for p in part.first]
        last = [p for part in parts for p in part.last]
        paths = sum(part.paths for part in parts)
        return _Part(first, last, any(part.nullable for part in parts), paths)

    def _join(self, one: _Part, other: _Part) -> _Part:
        for before in one.last:
            self._follow[before] += other.first
        first = one.first + other.first if one.nullable else one.first
        last = one.last + other.last if other.nullable else other.last
        return _Part(first, last, one.nullable and other.nullable, one.paths * other.paths)

    def _repeat(self, part: _Part, token: str) -> _Part:
        numbers = [int(number) for number in re.findall("[0-9]+", token)] or [int(token[0] == "+")]
        least = numbers[0]
        paths = part.paths ** min(least, COPIES) + part.paths * (token[0] == "?")
        paths = min(paths, MAX_PATHS + 1)
        repeats = token[0] in "*+" or "," in token or least > COPIES
        if repeats or (least > 1 and part.paths > self._once):
            self._join(part, part)
            unbounded = part.nullable or token[0] != "{" or ",}" in token
            paths = LOOP if unbounded else min(LOOP, numbers[-1] - least + 1)
        if part.nullable and least > 1:  # `re` tries every choice of empty repetitions
            self._join(part, part)
        return part._replace(nullable=part.nullable or not least, paths=paths)
