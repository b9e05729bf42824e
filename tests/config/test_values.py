"""Durations and sizes: the spellings that are accepted and those that are not."""

from __future__ import annotations

import pytest
from forge_min.config import parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("10m", 600.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5S", "5sec", "1e3s", "٥s", "5s\n"])
def test_other_texts_are_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("1048576", 1 << 20), ("1MiB", 1 << 20), ("64 KiB", 65536), ("2MB", 2_000_000),
     ("1gib", 1 << 30), ("7B", 7)],
)  # fmt: skip
def test_a_size_is_bytes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "1TiB", "1iB", "٥"])
def test_other_texts_are_no_size(text: str) -> None:
    assert parse_size(text) is None


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/1m", (100, 60.0)), ("5/s", (5, 1.0)), ("1/1h30m", (1, 5400.0)), ("5/0s", (5, 0.0))]
    + [
        (text, None)
        for text in ("", "/", "5", "5/", "0/1m", "-1/m", "5/x", "1e3/m", "9" * 5000 + "/m")
    ],
)
def test_a_rate_is_a_number_and_a_time(text: str, rate: object) -> None:
    assert parse_rate(text) == rate
