"""Schedules: a cron expression in a time zone, or an interval, and the time of its next run.

An expression has the five fields of crontab(5) in Debian's cron: minute, hour, day of month, month
and day of week, with lists, ranges, steps and names. If both days are restricted, either matches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import product
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...errors import ForgeError
from ...lazy import lazy_pattern

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


class _Field(NamedTuple):
    """A field of an expression: the numbers that it may have, and names of them in order."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()

    def parse(self, expression: str, text: str) -> set[int]:
        """Return the numbers that a text allows. Raises ForgeError F718."""
        result = set[int]()
        for part in text.lower().split(","):
            match = _PART.fullmatch(part)
            step = 0
            if match is not None:
                step = int(match[4] or 1)
            if match is None or step == 0:
                raise _error(f"{expression!r}", f"{part!r} is not a valid {self.name}")
            begin = self.low
            end = self.high
            if match[1] != "*":
                begin = self._number(expression, match[2])
                if match[3]:
                    end = self._number(expression, match[3])
                elif not match[4]:
                    end = begin
            if end < begin:
                raise _error(f"{expression!r}", f"{part!r} runs backwards")
            result.update(range(begin, end + 1, step))
        return result

    def _number(self, expression: str, text: str) -> int:
        if text in self.names:
            return self.low + self.names.index(text)
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        raise _error(f"{expression!r}", f"{text!r} is not a valid {self.name}")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)
_ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}  # fmt: skip
_PART = lazy_pattern(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_CACHED_DAYS = 4
_YEARS = 41  # the next 29 February that is a Monday may be 40 years away
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Interval:
    """Due at the multiples of `seconds` since 1970. Raises ForgeError F718 below one second."""

    def __init__(self, seconds: float) -> None:
        if not 1 <= seconds <= 366 * 86400:
            raise _error(f"an interval of {seconds} s", "it must be between 1 s and a year")
        self.seconds = seconds

    def after(self, moment: datetime) -> datetime:
        """Return the first run after `moment`, in UTC. `moment` has a time zone."""
        period = timedelta(seconds=self.seconds)
        return _EPOCH + period * ((moment - _EPOCH) // period + 1)

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


class Cron:
    """A cron expression in a time zone.

    When the clock is put forward, runs in the skipped hour are due right after it. When it is put
    back, runs in the repeated hour are due once. If the minute or the hour begins with `*`, runs
    follow the elapsed time instead (Debian's cron(8)).

    zone: an IANA name.

    Raises ForgeError F718 for an invalid expression, an unknown zone, and an expression that is
    never due.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.text = expression
        self.zone_name = zone
        fields = _ALIASES.get(expression.strip().lower(), expression).split()
        if len(fields) != len(_FIELDS):
            raise _error(f"{expression!r}", "it must have five fields, as in '30 4 * * mon-fri'")
        sets = [field.parse(expression, text) for text, field in zip(fields, _FIELDS)]
        self._minutes, self._hours, self._days, self._months, weekdays = sets
        self._weekdays = {day % 7 for day in weekdays}
        is_unrestricted = [field.startswith("*") for field in fields]
        self._matches_either_day = not (is_unrestricted[2] or is_unrestricted[4])
        self._follows_elapsed_time = is_unrestricted[0] or is_unrestricted[1]
        self._zone = _zone(zone)
        # PERF: cached, because a day with many runs takes some milliseconds.
        self._due_on = lru_cache(_CACHED_DAYS)(self._times)
        self.after(_EPOCH)

    def after(self, moment: datetime) -> datetime:
        """Return the first run after `moment`, in UTC. `moment` has a time zone."""
        moment = moment.astimezone(UTC)
        # A clock that is put forward may move runs of one day into the next.
        day = moment.astimezone(self._zone).date() - _DAY
        end = date.max
        if day.year + _YEARS < end.year:
            end = day.replace(year=day.year + _YEARS, day=1)
        while day < end:
            if self._matches(day):
                due = self._due_on(day)
                index = bisect_right(due, moment)
                if index < len(due):
                    return due[index]
            day += _DAY
        raise _error(f"{self.text!r}", "no day matches it")

    def _matches(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        by_date = day.day in self._days
        by_weekday = day.isoweekday() % 7 in self._weekdays
        if self._matches_either_day:
            return by_date or by_weekday
        return by_date and by_weekday

    def _times(self, day: date) -> list[datetime]:
        result = set[datetime]()
        for hour, minute in product(self._hours, self._minutes):
            local = datetime(day.year, day.month, day.day, hour, minute)
            first = local.replace(tzinfo=self._zone).astimezone(UTC)
            second = local.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
            times = [
                at
                for at in (first, second)
                if at.astimezone(self._zone).replace(tzinfo=None) == local
            ]
            if self._follows_elapsed_time:
                result.update(times)
            elif times:
                result.add(times[0])
            else:
                result.add(_end_of_gap(first, self._zone))
        return sorted(result)

    def __str__(self) -> str:
        return f"{self.text} ({self.zone_name})"


def _end_of_gap(moment: datetime, zone: tzinfo) -> datetime:
    """Return when the zone's clock was last put forward before `moment`."""
    offset = moment.astimezone(zone).utcoffset()
    while (moment - _MINUTE).astimezone(zone).utcoffset() == offset:
        moment -= _MINUTE
    return moment


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "use an IANA name such as Europe/Vienna, and install tzdata"
        raise _error(f"the time zone {name!r}", "it is not known on this machine", hint) from None


def _error(schedule: str, why: str, hint: str = "") -> ForgeError:
    hint = hint or "help F718 shows examples of schedules"
    return ForgeError(f"{schedule} is not a schedule: {why}", code="F718", hint=hint)
