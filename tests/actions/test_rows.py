"""Rows are filled without their __init__ only where that does nothing else."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any

from forge_min.actions.base import _plain_attributes

from workshop import PEOPLE

NAMES = [column.attribute or column.name for column in PEOPLE.columns]
Plain = make_dataclass("Plain", NAMES, frozen=True, slots=True)


@dataclass(frozen=True)
class Checked(Plain):  # type: ignore[misc, valid-type]
    """Does something with what it is given."""

    def __post_init__(self) -> None:
        raise AssertionError


@dataclass(frozen=True)
class More(Plain):  # type: ignore[misc, valid-type]
    """Has a field of its own."""

    other: int = 0


def test_a_row_that_does_more_is_made_by_its_init() -> None:
    def kept(row: Any) -> tuple[str, ...]:
        return _plain_attributes(PEOPLE._replace(row=row))

    assert kept(Plain) == tuple(NAMES)
    for other in (Checked, More, lambda *values: values):
        assert kept(other) == ()
