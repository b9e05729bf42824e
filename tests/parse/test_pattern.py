"""Which patterns may stand: those that Python and ECMAScript read alike."""

from __future__ import annotations

import re
import string

import pytest
from forge_min.parse.pattern import pattern_problem
from hypothesis import given
from hypothesis import strategies as st

GOOD = [
    "[A-Z]{2}[0-9]{1,4}",
    r"^\d+(?:\.\d{2})?$",
    r"(a|b)*?c",
    r"[^/\]\\\-]+",
    r"\u00e9\x41\t",
    "é☃",
    "#x y",
    r"[\w.-]+@[\w-]+",
    "a{2,}",
    ".",
    "a" * 500,
]
BAD = [
    "", "a" * 501, "(", ")", "[", "[]", "[]a]", "a**", "a++", "a{2}{3}", "*", "{", "}", "]",
    "a{,3}",
    "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?P<n>a)", "(?P=n)", r"(a)\1", r"\0", "(?i)a", "(?i:a)",
    "(?#x)", "(?>a)", "(?(1)a)", r"\A", r"\Z", r"\z", r"\-", r"\'", r"\p{L}", r"\k<n>", r"\N{DOT}",
    r"\U0001f600", r"\u12", "\\", "[z-a]", "[[:alpha:]]", "[a--b]", r"[\d-z]", "a{3,2}", r"\c",
]  # fmt: skip


@pytest.mark.parametrize("pattern", GOOD)
def test_a_plain_pattern_may_stand(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize("pattern", BAD)
def test_what_only_one_of_the_two_knows_may_not(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None and problem.code == "F151"


@given(st.text("ab[](){}*+?|^$.\\-,=!<:PidwAZ12#& " + string.whitespace, max_size=16))
def test_what_may_stand_compiles_without_a_warning(pattern: str) -> None:
    if pattern_problem(pattern) is None:
        compiled = re.compile(pattern, re.ASCII)
        assert not compiled.groupindex and compiled.flags == re.ASCII
