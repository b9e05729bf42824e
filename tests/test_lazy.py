"""expression: a pattern that is compiled when it is first used."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from forge_min.lazy import lazy_pattern


def test_it_is_what_re_compile_gives() -> None:
    late, made = lazy_pattern("(a+)b", re.IGNORECASE), re.compile("(a+)b", re.IGNORECASE)
    assert late.sub(r"<\1>", "xAAB") == made.sub(r"<\1>", "xAAB") == "x<AA>"
    assert late.pattern == made.pattern and late.flags == made.flags
    assert [found[1] for found in late.finditer("ab aab")] == ["a", "aa"]
    assert lazy_pattern(rb"\d+").fullmatch(b"12") is not None


def test_nothing_is_compiled_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    compiled = re.compile

    def told(*arguments: object) -> object:
        asked.append(arguments[0])
        return compiled(*arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(re, "compile", told)
    late = lazy_pattern("never seen (before)")
    assert not asked
    assert late.search("never seen before") and late.search("never seen before")
    assert asked == ["never seen (before)"], "once for each method"


def test_a_wrong_one_is_an_error_at_its_first_use() -> None:
    late = lazy_pattern("(")
    with pytest.raises(re.error, match="unterminated"):
        late.match("x")


def test_a_copy_is_as_good() -> None:
    assert copy.deepcopy(lazy_pattern("a+")).fullmatch("aa")
    assert pickle.loads(pickle.dumps(lazy_pattern("a+"))).fullmatch("aa")
