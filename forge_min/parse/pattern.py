"""What a field's pattern may hold: what means the same to Python and to ECMAScript, and is fast.

A pattern is enforced by `re` and told to clients in OpenAPI, whose readers use ECMAScript's.

`re` tries every way to read a text, which takes exponential time with some patterns. So the pattern
becomes a position automaton (Glushkov). A search is exponential if two ways from a position back to
it read the same text (Weber and Seidl, "On the degree of ambiguity of finite automata"). As bad is
a pattern that reads a text in very many ways without a loop, as "(a|aa)(a|aa)(a|aa)..." does.
Polynomial time, as of "a*a*b", is not detected. A part that is repeated exactly n times, n <= 6,
counts once while these ways are few.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

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


COPIES = 6  # a part with more repetitions, or with a varying number of them, is treated as a loop
LOOP = 32  # ways that a loop without two ways counts as
WAYS = 100_000  # that an ambiguous pattern may have: some ms
_LATIN = "".join(map(chr, range(256)))


class _Part(NamedTuple):
    """The positions at which a part of the pattern begins and ends, and at most how many ways it
    has to read a text.
    """

    first: list[int]
    last: list[int]
    nullable: bool
    ways: int = 1


def takes_too_long(tokens: Sequence[str]) -> bool:
    """tokens: of a pattern that `re` compiles."""
    automaton = Automaton(tokens)
    if automaton.ways > WAYS:
        # In a loop, up to an end that reads nothing, any two ways to read a text are ambiguous.
        automaton = Automaton(["(", "(", *tokens, ")", r"[^\s\S]", ")", "*"], once=1)
    return automaton.is_exponential()


class Automaton:
    """The position automaton of a pattern.

    once: a part with more ways than this is a loop even if it is repeated exactly n times.
    """

    def __init__(self, tokens: Sequence[str], once: int = WAYS) -> None:
        self._once = once
        pool = _LATIN + "".join(tokens)
        self._chars: list[set[str]] = []  # the characters that a position reads
        self._follow: list[list[int]] = []  # the next positions, one entry for each way there
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
        self.ways = self._choose(groups.pop()).ways

    def is_exponential(self) -> bool:
        """Whether a loop can read the same text in two ways."""
        ahead = [{*following} for following in self._follow]
        for through, found in product(range(len(ahead)), ahead):
            if through in found:
                found |= ahead[through]
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
        ways = sum(part.ways for part in parts)
        return _Part(first, last, any(part.nullable for part in parts), ways)

    def _join(self, one: _Part, other: _Part) -> _Part:
        for before in one.last:
            self._follow[before] += other.first
        first = one.first + other.first if one.nullable else one.first
        last = one.last + other.last if other.nullable else other.last
        return _Part(first, last, one.nullable and other.nullable, one.ways * other.ways)

    def _repeat(self, part: _Part, token: str) -> _Part:
        numbers = [int(number) for number in re.findall("[0-9]+", token)] or [int(token[0] == "+")]
        least = numbers[0]
        ways = min(part.ways ** min(least, COPIES) + part.ways * (token[0] == "?"), WAYS + 1)
        repeats = token[0] in "*+" or "," in token or least > COPIES
        if repeats or (least > 1 and part.ways > self._once):
            self._join(part, part)
            unbounded = part.nullable or token[0] != "{" or ",}" in token
            ways = LOOP if unbounded else min(LOOP, numbers[-1] - least + 1)
        if part.nullable and least > 1:  # `re` tries which repetitions are empty
            self._join(part, part)
        return part._replace(nullable=part.nullable or not least, ways=ways)
