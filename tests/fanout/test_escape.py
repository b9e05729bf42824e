"""Escaping, on both twins: nothing of a value becomes markup, and the twins agree on each."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min.wsgi import Raw
from hypothesis import given
from hypothesis import strategies as st

from .conftest import MODULES, _load


class Shouting(UUID):
    """A key that is shown in another way."""

    def __str__(self) -> str:
        return f"<{super().__str__().upper()}>"


class Texty(str):
    """A str that says something else of itself."""

    def __str__(self) -> str:
        return "<b>"


TWINS = [found for found in map(_load, MODULES) if found is not None]
VALUES = [
    None, "", "word", "two words", "<&>\"'", "ü<", "€<", "🐎&", "\x00'", "x" * 10_000 + ">", 0, -1,
    1.5, True, Decimal("1.50"), Raw("<b>"), Texty("x"), UUID(int=0), UUID(int=2**128 - 1),
    Shouting(int=7), datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(2030, 1, 2, 3, 4, 5, 6, UTC), datetime(2030, 1, 2), [1, "<"],
    datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_its_text_with_five_characters_replaced(core: Any, value: object) -> None:
    wanted = "" if value is None else html.escape(str(value)).replace("&quot;", "&#34;")
    escaped = core.escape(value)
    assert escaped == wanted.replace("&#x27;", "&#39;") and type(escaped) is str


@given(st.one_of(st.text(), st.uuids(), st.datetimes(timezones=st.just(UTC)), st.integers()))
def test_the_twins_agree(value: object) -> None:
    one, *others = [core.escape(value) for core in TWINS]
    assert all(other == one for other in others)
    assert not set("<>\"'") & set(one) and html.unescape(one) == str(value)


def test_what_needs_no_change_is_not_copied(core: Any) -> None:
    text = f"plain {uuid4()}"
    assert core.escape(text) is text or core.escape(text) == text


def test_an_error_of_a_value_is_raised(core: Any) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        core.escape(Broken())


MOMENTS = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), UTC]),
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1),
)  # fmt: skip


@given(MOMENTS)
def test_a_moment_is_written_in_utc_and_read_back_to_the_same(moment: datetime) -> None:
    written = {core.iso_utc(moment) for core in TWINS}
    assert len(written) == 1
    (text,) = written
    assert text.endswith("Z") and "+" not in text and datetime.fromisoformat(text) == moment
    assert ("." in text) == bool(moment.microsecond)
