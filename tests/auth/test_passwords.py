"""Passwords: what may be one, and what is kept of it."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from forge_min.auth import passwords
from forge_min.auth.passwords import (
    Costs,
    check_password,
    hash_password,
    is_outdated,
    verify_password,
)
from forge_min.errors import Invalid, Unavailable
from hypothesis import given
from hypothesis import strategies as st

CHEAP = Costs(log2n=4)


def test_a_password_is_told_from_every_other_and_two_of_the_same_are_kept_differently() -> None:
    one, two = hash_password("correct horse"), hash_password("correct horse")
    assert one != two and "correct" not in one
    assert one.startswith("$scrypt$ln=15,r=8,p=1$")
    assert verify_password("correct horse", one) and verify_password("correct horse", two)
    for wrong in ("correct hors", "correct horse ", "Correct horse", "", "\udcff"):
        assert not verify_password(wrong, one)


@pytest.mark.parametrize(
    "kept", [None, "", "plain", "$scrypt$ln=15,r=8,p=1$$", "$2b$12$abcdefghijklmnopqrstuv"]
)
def test_what_is_no_hash_is_nobodys(kept: str | None) -> None:
    assert not verify_password("", kept) and not verify_password("plain", kept)


def test_the_vector_of_rfc_7914() -> None:
    # Section 12: P "pleaseletmein", S "SodiumChloride", N 16384, r 8, p 1; the first 32 bytes.
    kept = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"
    assert verify_password("pleaseletmein", kept)


def test_another_cost_is_outdated() -> None:
    assert is_outdated(hash_password("x", CHEAP)) and not is_outdated(hash_password("x"))
    assert verify_password("x", hash_password("x", CHEAP))


@pytest.mark.parametrize(
    "good",
    ["correct horse battery", "Ünïcödé pässwörd", "            x y z w v", "🐎" * 3 + "correct"],
)
def test_any_characters_are_good(good: str) -> None:
    assert check_password(good, min_length=8, beside="anna@example.com") == good


@pytest.mark.parametrize(
    "bad",
    [
        "short", "aaaaaaaaaaaaaaaa", "abcabcabcabcabc", "0123456789012", "qwertyuiopas",
        "lkjhgfdsapoiuztrewq", "Password2026!", "anna@example.com", "example12345", "x\0yzabcdefgh",
        "a1" * 600, None, 12,
    ],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(bad: object) -> None:
    with pytest.raises(Invalid) as caught:
        check_password(bad, min_length=8, beside="anna@example.com")
    assert caught.value.code == "F630" and caught.value.errors[0].pointer == "/password"


@given(st.text("ab", max_size=12), st.text("abc", max_size=3))
def test_a_repetition_is_found_wherever_it_ends(word: str, start: str) -> None:
    whole = (start + word) * 3 + start
    repeats = (
        n for n in range(1, len(whole) + 1) if whole == (whole[:n] * len(whole))[: len(whole)]
    )
    assert passwords._repeats(whole) == (0 < next(repeats, 0) <= len(whole) // 2)


def test_a_long_password_costs_no_more_than_its_length() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match="too easy to guess"):
            check_password("\ufb03abcde" * 170 + "\ufb03", min_length=12)
        assert check_password("abcde" + "\ufb03" * 1_000, min_length=12)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000, "copies of the password, as many as it has characters"


def test_many_at_once_wait_and_then_are_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAIT", 600.0)  # on a machine that is slow, too
    kept = hash_password("correct horse")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: verify_password("correct horse", kept), range(8)))
    monkeypatch.setattr(passwords, "WAIT", 0.01)
    with passwords._hashing_slot(), passwords._hashing_slot(), pytest.raises(Unavailable):
        verify_password("correct horse", kept)
