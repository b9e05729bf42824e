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


EXPONENTIAL = [
    "(a+)+$", "(a|a)*$", "(a|aa)+$", r"([a-z]+)*\d", r"^(\w+\s?)*$", "(a*)*", "(?:[a-zA-Z]+)*c",
    "(x+x+)+y", r"(\d{1,3},?){1,20}", "([a-z0-9]+[.-]?)+@x", "(a|b|ab)*c", "(.*)*", "(a?){30}a",
    r"(\s*\w*)*", "(a{1,2}){10,}x", "(.*a){12}", "^(([a-z])+.)+[A-Z]([a-z])+$",
    "((a?){5}){5}b", "([A-Z0-9]{1,4}[- ]?){1,6}" * 3, "(a|aa|aaa){6}" * 4, "((a{0,6}){0,6}){0,6}b",
    "([0-9]{1,4}[-. ]?){2,6}([0-9]{1,4}[-. ]?){0,6}", "a?" * 25 + "a" * 25, "((a|aa){6}){6}b",
    "(a|aa)" * 30, "([0-9]+,?){6}x", "(" * 90 + "a?" + "){6}" * 90, "a{0,6}" * 10, "(.*,){6}x",
]  # fmt: skip
QUICK = [
    r"[a-z0-9]+(-[a-z0-9]+)*", r"[\w.+-]{1,64}@([a-z\d]+(-[a-z\d]+)*\.)+[a-z\d]+", "[^<>]*",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"(\d{3})+", "([0-9a-f]{2})+", "[^@\\s]+@[^@\\s]+",
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", r"\+?[0-9][0-9 ()/-]{5,20}", r"([01]\d|2[0-3]):[0-5]\d",
    r"(?:[A-Z]{2}\d{2})(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,2})?", r"(?:\w+, )*\w+", "(a?)*b",
    r"https?://[a-z\d.-]+(:\d{1,4})?([/?#][!#-;=?-\[\]_a-z~]*)?", r"(\w+\s)*\w+", "#?[0-9a-f]+",
    r"v?\d+\.\d+\.\d+(-[\w.]+)?(\+[\w.]+)?", r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?", "a" * 499 + "+",
    "(ab|ac)*", r"([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)+[a-z]{2,}", "((((a{6}){6}){6}){6}){6}",
    r"((25[0-5]|2[0-4]\d|[01]?\d\d?)\.){3}(25[0-5]|2[0-4]\d|[01]?\d\d?)", "[0-9]{2,4}-[0-9]{4,8}",
    r"\+?\d{1,3}[ -]?\d{1,4}[ -]?\d{1,4}[ -]?\d{1,9}", r"\S+@\S+\.\S+", "([a-z]+-){6}([A-Z]+-){6}",
    "[A-Z]{2}[0-9]{2}([A-Z0-9]{4}){2,7}[A-Z0-9]{1,4}", "(Mr|Mrs|Ms)( [A-Z][a-z]+){1,3}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_a_pattern_that_backtracks_for_too_long_may_not(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None and problem.code == "F133" and problem.hint


@pytest.mark.parametrize("pattern", QUICK)
def test_a_pattern_with_one_way_to_read_a_text_may_stand(pattern: str) -> None:
    assert pattern_problem(pattern) is None


PIECES = st.sampled_from(["a", "b", "[ab]", ".", "a|b", "a?", "b*", "a+", "(?:ab)", "a{1,2}"])


@given(st.lists(st.tuples(PIECES, st.sampled_from(["", "*", "+", "{2}", "?"])), max_size=3))
def test_what_may_stand_answers_within_its_steps(parts: list[tuple[str, str]]) -> None:
    pattern = "".join(f"(?:{piece}){times}" for piece, times in parts) + "c"
    pattern = f"(?:{pattern[:-1]})*c"
    if pattern_problem(pattern) is None:
        for text in ("a" * 24, "ab" * 12, "ba" * 12, "aab" * 8):
            assert re.fullmatch(pattern, text, re.ASCII) is None


@given(st.text("ab[](){}*+?|^$.\\-,=!<:PidwAZ12#& " + string.whitespace, max_size=16))
def test_what_may_stand_compiles_without_a_warning(pattern: str) -> None:
    if pattern_problem(pattern) is None:
        compiled = re.compile(pattern, re.ASCII)
        assert not compiled.groupindex and compiled.flags == re.ASCII
