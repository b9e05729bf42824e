"""Schedules: a cron expression in a time zone, or an interval; when it is due next.

Five fields as crontab(5) of Debian's cron has them: minute, hour, day of month, month, day of week,
with lists, ranges, steps and names. Where both days are restricted, either fits.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import product
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...errors import ForgeError
from ...lazy import lazy_pattern

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []), ("hour", 0, 23, []), ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS), ("day of week", 0, 7, _DAYS),
)  # fmt: skip
_SHORT = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}  # fmt: skip
_PART = lazy_pattern(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_KEPT = 4  # days
_YEARS = 41  # a 29 February that is a Monday may be forty years away
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Interval:
    """Due at the multiples of `seconds` since 1970. Raises ForgeError F718 below one second."""

    def __init__(self, seconds: float) -> None:
        if not 1 <= seconds <= 366 * 86400:
            raise _wrong(f"an interval of {seconds} s", "it lies between 1 s and a year")
        self.seconds = seconds

    def after(self, moment: datetime) -> datetime:
        """The first time it is due after `moment`; both have a zone, the answer's is UTC."""
        passed = (moment - _EPOCH).total_seconds() // self.seconds
        found = _EPOCH + timedelta(seconds=self.seconds * (passed + 1))
        return found if found > moment else found + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


class Cron:
    """A cron expression. zone: an IANA name, whose clock it is read by.

    When that clock is put forward, what falls into the hour that is left out is due right after it;
    when it is put back, once: unless the minute or the hour begins with `*`, which goes by the time
    that passes (Debian's cron(8)). Raises ForgeError F718 for an expression that is none, an
    unknown zone, and one that is never due.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.text, self.zone_name = expression, zone
        fields = _SHORT.get(expression.strip().lower(), expression).split()
        if len(fields) != len(_FIELDS):
            raise _wrong(f"{expression!r}", "it has five fields, as in '30 4 * * mon-fri'")
        sets = [_field(expression, text, *field) for text, field in zip(fields, _FIELDS)]
        self._minutes, self._hours, self._days, self._months, weekdays = sets
        self._weekdays = {day % 7 for day in weekdays}
        self._either = not (fields[2].startswith("*") or fields[4].startswith("*"))
        self._passes = fields[0].startswith("*") or fields[1].startswith("*")
        self._zone = _zone(zone)
        # PERF: kept, because a day of many minutes takes some milliseconds.
        self._due_on = lru_cache(_KEPT)(self._times)
        self.after(_EPOCH)

    def after(self, moment: datetime) -> datetime:
        """The first time it is due after `moment`; both have a zone, the answer's is UTC."""
        moment = moment.astimezone(UTC)
        # A clock that is put forward may carry what was due on a day into the next.
        day = moment.astimezone(self._zone).date() - _DAY
        end = day.replace(year=day.year + _YEARS, day=1) if day.year + _YEARS < 9999 else date.max
        while day < end:
            if day.month not in self._months:
                day = (day.replace(day=1) + 32 * _DAY).replace(day=1)
                continue
            if self._fits(day):
                due = self._due_on(day)
                place = bisect_right(due, moment)
                if place < len(due):
                    return due[place]
            day += _DAY
        raise _wrong(f"{self.text!r}", "no day fits it")

    def _fits(self, day: date) -> bool:
        by_date, by_weekday = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return (by_date or by_weekday) if self._either else (by_date and by_weekday)

    def _times(self, day: date) -> list[datetime]:
        found: set[datetime] = set()
        for hour, minute in product(self._hours, self._minutes):
            local = datetime(day.year, day.month, day.day, hour, minute)
            times = [local.replace(tzinfo=self._zone, fold=n).astimezone(UTC) for n in (0, 1)]
            shown = [at for at in times if at.astimezone(self._zone).replace(tzinfo=None) == local]
            if self._passes:
                found.update(shown)
            else:
                found.add(shown[0] if shown else _end_of_gap(times[0], self._zone))
        return sorted(found)

    def __str__(self) -> str:
        return f"{self.text} ({self.zone_name})"


def _end_of_gap(moment: datetime, zone: tzinfo) -> datetime:
    """Return when the zone's clock was put forward, a while before `moment`."""
    offset = moment.astimezone(zone).utcoffset()
    while (moment - _MINUTE).astimezone(zone).utcoffset() == offset:
        moment -= _MINUTE
    return moment


def _field(
    expression: str, text: str, name: str, low: int, high: int, names: list[str]
) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        step = int(match[4] or 1) if match else 0
        if match is None or not step:
            raise _wrong(f"{expression!r}", f"{part!r} is no {name}")
        begin, end = low, high
        if match[1] != "*":
            begin = _number(expression, match[2], name, low, high, names)
            if match[3]:
                end = _number(expression, match[3], name, low, high, names)
            elif not match[4]:
                end = begin
        if end < begin:
            raise _wrong(f"{expression!r}", f"{part!r} runs backwards")
        found.update(range(begin, end + 1, step))
    return found


def _number(expression: str, text: str, name: str, low: int, high: int, names: list[str]) -> int:
    if text in names:
        return names.index(text) + (1 if low else 0)
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise _wrong(f"{expression!r}", f"{text!r} is no {name}")


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "an IANA name such as Europe/Vienna; the machine needs its zone files (tzdata)"
        raise _wrong(f"the time zone {name!r}", "it is not known here", hint) from None


def _wrong(what: str, why: str, hint: str = "") -> ForgeError:
    hint = hint or "help F718 shows what a schedule looks like"
    return ForgeError(f"{what} is no schedule: {why}", code="F718", hint=hint)
