"""How long Python's `re` may search for a match of a pattern, judged by the pattern alone.

`re` backtracks: it tries every way to read a text. The pattern becomes a position automaton
(Glushkov), whose edges are counted. Two ways from a position back to it that read the same text are
exponential (Weber and Seidl, "On the degree of ambiguity of finite automata"). Loops in a row that
read the same character are polynomial. Polynomials of longer texts, as of ".*foo.*foo", are missed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

COPIES = 6  # of a part with a counted repetition; what may be repeated more often is a loop
MOST = 600  # positions
_LATIN = "".join(map(chr, range(256)))


class _Part(NamedTuple):
    """Of a part of the pattern: in how many ways a position begins or ends it."""

    first: Counter[int] = Counter()
    last: Counter[int] = Counter()
    nullable: bool = True


class Automaton:
    """tokens: of a pattern that `re` compiles. Raises ValueError if it has too many positions."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._pool = _LATIN + "".join(tokens)
        self._chars: list[frozenset[str]] = []  # that a position reads
        self._follow: list[Counter[int]] = []  # in how many ways a position comes after it
        self._choice(0)
        positions = range(len(self._chars))
        self._ahead = self._reachable(positions)

    def is_exponential(self) -> bool:
        """Whether a loop can read the same text in two ways."""
        for here, following in enumerate(self._follow):
            if any(ways > 1 and here in self._ahead[after] for after, ways in following.items()):
                return True
        positions = range(len(self._chars))
        todo = [pair for here in positions for pair in self._after(here, here) if len({*pair}) == 2]
        seen = set(todo)
        while todo:
            for pair in self._after(*todo.pop()):
                if pair[0] == pair[1]:
                    return True
                if pair not in seen:
                    seen.add(pair)
                    todo.append(pair)
        return False

    def degree(self) -> int:
        """How many loops in a row read the same character, at most."""
        positions = range(len(self._chars))
        read = {c: [p for p in positions if c in self._chars[p]] for c in set(self._pool)}
        return max(map(self._longest_row, set(map(tuple, read.values()))), default=0)

    def _longest_row(self, positions: Sequence[int]) -> int:
        ahead = self._reachable(positions)
        loops = sorted((p for p in positions if p in ahead[p]), key=lambda p: len(ahead[p]))
        rows: dict[int, int] = {}
        for loop in loops:  # those that come later in the pattern first: they have less ahead
            others = (rows[p] for p in rows if p in ahead[loop] and loop not in ahead[p])
            rows[loop] = 1 + max(others, default=0)
        return max(rows.values(), default=0)

    def _reachable(self, positions: Iterable[int]) -> dict[int, set[int]]:
        """What comes after each of these positions, through these only."""
        allowed = set(positions)
        ahead = {p: allowed & self._follow[p].keys() for p in allowed}
        for through in allowed:
            for found in ahead.values():
                if through in found:
                    found |= ahead[through]
        return ahead

    def _after(self, one: int, other: int) -> Iterator[tuple[int, int]]:
        """Where two ways go on with the same character, if both come back to where they are."""
        for x in self._follow[one]:
            for y in self._follow[other]:
                back = one in self._ahead[x] and other in self._ahead[y] and x in self._ahead[y]
                if back and (x == y or y in self._ahead[x]) and self._chars[x] & self._chars[y]:
                    yield x, y

    # -- the automaton of a part that begins at a token, and the token behind it -------------------

    def _choice(self, at: int) -> tuple[_Part, int]:
        part, at = self._sequence(at)
        while self._tokens[at : at + 1] == ["|"]:
            other, at = self._sequence(at + 1)
            first, last = part.first + other.first, part.last + other.last
            part = _Part(first, last, part.nullable or other.nullable)
        return part, at

    def _sequence(self, at: int) -> tuple[_Part, int]:
        part = _Part()
        while at < len(self._tokens) and self._tokens[at] not in ("|", ")"):
            other, at = self._repeated(at)
            part = self._joined(part, other)
        return part, at

    def _repeated(self, at: int) -> tuple[_Part, int]:
        part, end = self._one(at)
        sign = self._tokens[end][0] if end < len(self._tokens) else ""
        if not sign or sign not in "*+?{":
            return part, end
        numbers = [int(n) for n in re.findall("[0-9]+", self._tokens[end])] or [int(sign == "+")]
        bounded = sign == "?" or (sign == "{" and not re.search(",[}]", self._tokens[end]))
        most = max(numbers[-1], int(sign == "?")) if bounded else COPIES + 1
        copies = min(max(numbers[0], 1), COPIES) if most > COPIES else most
        parts = [part, *(self._one(at)[0] for _ in range(copies - 1))][:copies]
        if most > COPIES:
            self._link(parts[-1], parts[-1])
            if part.nullable and numbers[0] > 1:  # `re` tries which of them are empty
                self._link(parts[-1], parts[-1])
        whole = _Part()
        for number, part in reversed(list(enumerate(parts))):
            whole = self._joined(part, whole)
            whole = whole._replace(nullable=whole.nullable or number >= numbers[0])
        return whole, end + 1

    def _one(self, at: int) -> tuple[_Part, int]:
        token = self._tokens[at]
        if token.startswith("("):
            part, at = self._choice(at + 1)
            return part, at + 1
        if token in ("^", "$", r"\b", r"\B"):
            return _Part(), at + 1
        if len(self._chars) == MOST:
            raise ValueError("too many positions")
        here = Counter([len(self._chars)])
        self._chars.append(frozenset(re.findall(token, self._pool, re.ASCII)))
        self._follow.append(Counter())
        return _Part(here, here, nullable=False), at + 1

    def _joined(self, one: _Part, other: _Part) -> _Part:
        self._link(one, other)
        first = one.first + other.first if one.nullable else one.first
        last = one.last + other.last if other.nullable else other.last
        return _Part(first, last, one.nullable and other.nullable)

    def _link(self, one: _Part, other: _Part) -> None:
        for before, ways in one.last.items():
            for after, times in other.first.items():
                self._follow[before][after] += ways * times
