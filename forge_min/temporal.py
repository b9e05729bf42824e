"""Durations of ISO 8601, and limits of dates that are relative to the current time ("today-18y").

A duration has an exact length: no years and months, not negative, up to microseconds. It is written
by the grammar of RFC 3339 appendix A, with a fraction of seconds if there is one.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta

from .lazy import lazy_pattern

_DURATION = lazy_pattern(
    r"P(?!\Z)(?:([0-9]{1,10})W|(?:([0-9]{1,10})D)?"
    r"(?:T(?!\Z)(?:([0-9]{1,15})H)?(?:([0-9]{1,15})M)?(?:([0-9]{1,15})(?:\.([0-9]{1,6}))?S)?)?)"
)
_CLOCK = lazy_pattern(r"([0-9]{1,11}):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,6})?))?")
_RELATIVE = lazy_pattern(r"(today|now)(?:([+-][0-9]{1,3})([hdwmy]))?")
_EXACT = {"h": timedelta(hours=1), "d": timedelta(1), "w": timedelta(7)}


def parse_duration(text: str) -> timedelta:
    """Return the duration of "P1DT2H3M4.5S" or "P2W".

    Raises ValueError for another text, OverflowError for more than 999999999 days.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    *whole, fraction = match.groups("0")
    weeks, days, hours, minutes, seconds = map(int, whole)
    return timedelta(days, seconds, int(fraction.ljust(6, "0")), 0, minutes, hours, weeks)


def format_duration(value: timedelta) -> str:
    """Return a duration as `parse_duration` reads it."""
    all_hours, minutes, seconds = format_clock(value).split(":")
    days, hours = divmod(int(all_hours), 24)
    text = "P"
    if days:
        text += f"{days}D"
    text += "T"
    if hours:
        text += f"{hours}H"
    if hours or minutes != "00":
        text += f"{int(minutes)}M"
    return f"{text}{seconds.removeprefix('0')}S"


def format_clock(value: timedelta) -> str:
    """Return a duration as people read it: hours, minutes and seconds, "26:03:04.5"."""
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}".rstrip("0").rstrip(".")
    return f"{value.days * 24 + hours}:{minutes:02}:{seconds:02}{fraction}"


def clock_to_duration(text: str) -> str:
    """Return "26:03:04" or "26:03" as a duration of ISO 8601; any other text unchanged."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return text
    hours, minutes, seconds = match.groups("0")
    return f"PT{hours}H{minutes}M{seconds}S"


def relative_limit(limit: object, now: datetime) -> date | None:
    """Return the limit that a relative one means: a date for "today", a datetime for "now".

    None for any other limit. Months and years end on the last day of a month that is too short, as
    in PostgreSQL.
    """
    if not isinstance(limit, str):
        return None
    match = _RELATIVE.fullmatch(limit)
    if match is None:
        return None
    base: date = now
    if match[1] == "today":
        base = now.date()
    number = int(match[2] or 0)
    unit = match[3] or "d"
    if unit in _EXACT:
        return base + number * _EXACT[unit]
    if unit == "y":
        number *= 12
    year, month = divmod(base.year * 12 + base.month - 1 + number, 12)
    day = min(base.day, monthrange(year, month + 1)[1])
    return base.replace(year=year, month=month + 1, day=day)


def is_relative(limit: object) -> bool:
    """Whether a limit depends on the current time."""
    return isinstance(limit, str) and limit.startswith(("today", "now"))
