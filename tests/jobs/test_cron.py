"""Schedules: beside another implementation of Debian's cron, across changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from forge_min.errors import ForgeError
from forge_min.jobs import Cron, Interval, Periodic
from hypothesis import assume, example, given
from hypothesis import strategies as st

ZONES = ["UTC", "Europe/Vienna", "America/New_York", "America/Santiago", "Asia/Kathmandu"]
# Where a clock changes, or nearly.
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 9, 6, 4, tzinfo=UTC), datetime(2028, 2, 29, 0, tzinfo=UTC),
]  # fmt: skip


def field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    pairs = st.tuples(numbers, numbers).filter(lambda p: p[0] != p[1]).map(sorted)
    ranges = pairs.map(lambda pair: f"{pair[0]}-{pair[1]}")
    return st.one_of(
        st.just("*"),
        st.integers(2, 15).map(lambda n: f"*/{n}"),
        numbers.map(str),
        ranges,
        st.tuples(ranges, st.integers(2, 5)).map(lambda each: f"{each[0]}/{each[1]}"),
        st.lists(numbers.map(str), min_size=2, max_size=3).map(",".join),
    )


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(
    " ".join
)
moments = st.one_of(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda d: d.replace(tzinfo=UTC)),
    st.tuples(st.sampled_from(CHANGES), st.integers(-300, 300)).map(
        lambda each: each[0] + timedelta(minutes=each[1])
    ),
)


@given(expressions, st.sampled_from(ZONES), moments)
@example("30 2 * * *", "Europe/Vienna", datetime(2026, 3, 28, 12, tzinfo=UTC))
@example("30 2 * * *", "Europe/Vienna", datetime(2026, 10, 24, 12, tzinfo=UTC))
@example("*/20 2 * * *", "Europe/Vienna", datetime(2026, 10, 24, 12, tzinfo=UTC))
@example("59 23 29 2 *", "UTC", datetime(2025, 1, 1, tzinfo=UTC))
def test_it_is_due_as_another_implementation_says(
    expression: str, zone: str, moment: datetime
) -> None:
    moment = moment.replace(second=0, microsecond=0)
    # What begins with * in a gap at midnight is the one thing that they read otherwise.
    assume(zone != "America/Santiago" or not expression.startswith("*") and " */" not in expression)
    try:
        other = CronSim(expression, moment.astimezone(ZoneInfo(zone)))
        wanted = [next(other).astimezone(UTC) for _ in range(3)]
    except (CronSimError, StopIteration):
        assume(False)
    assume(wanted[0] > moment)  # the other one goes back if it begins in an hour that is repeated
    cron, found = Cron(expression, zone), []
    for _ in range(3):
        moment = cron.after(moment)
        found.append(moment)
    assert found == wanted


def test_an_hour_that_a_clock_leaves_out_or_shows_twice() -> None:
    def local(expression: str, day: datetime, count: int) -> list[str]:
        cron, found = Cron(expression, "Europe/Vienna"), []
        for _ in range(count):
            day = cron.after(day)
            found.append(day.astimezone(ZoneInfo("Europe/Vienna")).isoformat())
        return found

    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert local("30 2 * * *", spring, 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert local("30 2 * * *", autumn, 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]
    assert local("*/30 2 * * *", autumn, 4) == [
        "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 jan *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 9-17/4 * * MON-FRI", "0 9,13,17 * * 1,2,3,4,5"),
    ],
)
def test_names_and_short_forms(short: str, long: str) -> None:
    one, two = (datetime(2026, 5, 5, tzinfo=UTC),) * 2
    for _ in range(10):
        one, two = Cron(short).after(one), Cron(long).after(two)
        assert one == two


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *",
     "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *", "0 0 30 2 *", "@never", "-1 * * * *",
     "\u0663 * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ForgeError) as caught:
        Cron(expression)
    assert caught.value.code == "F718"


def test_an_unknown_zone_and_a_tiny_interval_are_refused() -> None:
    for make in (lambda: Cron("* * * * *", "Europe/Nowhere"), lambda: Cron("* * * * *", "../etc"),
                 lambda: Interval(0.5), lambda: Interval(float("nan"))):  # fmt: skip
        with pytest.raises(ForgeError) as caught:
            make()
        assert caught.value.code == "F718"


@given(st.sampled_from([1, 7, 60, 900.5, 86_400]), moments)
def test_an_interval_is_due_at_its_multiples(seconds: float, moment: datetime) -> None:
    due = Interval(seconds).after(moment)
    assert timedelta(0) < due - moment <= timedelta(seconds=seconds)
    assert Interval(seconds).after(due) - due == timedelta(seconds=seconds)


@pytest.mark.parametrize("schedule", [Cron("* * * * *", "Europe/Vienna"), Interval(7)])
def test_a_year_of_missed_runs_is_not_walked_through_for_the_last(schedule: Any) -> None:
    now = datetime(2026, 11, 26, 7, 30, 30, tzinfo=UTC)
    due = schedule.after(now - timedelta(days=365))
    for missed, number in (("once", 1), ("skip", 1), ("all", 1000)):
        each = Periodic("p", schedule, "k", missed=missed)  # type: ignore[arg-type]
        runs, then = each.runs(due, now)
        assert len(runs) == number and then == schedule.after(now)
        if missed != "all":
            assert runs[-1] <= now and schedule.after(runs[-1]) == then


def test_a_run_is_late_by_elapsed_time_also_when_the_clocks_of_the_session_change() -> None:
    every_20_seconds = Periodic("p", Interval(20), "k", missed="skip")
    for now in (
        datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC),  # clocks are put forward at 1:00
        datetime(2026, 10, 25, 1, 0, 30, tzinfo=UTC),  # and back
    ):
        local = now.astimezone(ZoneInfo("Europe/Vienna"))
        runs, _ = every_20_seconds.runs(now - timedelta(seconds=40), local)
        assert runs == [now - timedelta(seconds=10)]
        runs, _ = every_20_seconds.runs(now - timedelta(minutes=30), local)
        assert runs == [now - timedelta(seconds=10)]


def test_a_run_that_is_rarer_than_daily_is_found_when_it_was_missed() -> None:
    monthly = Periodic("p", Cron("0 6 1 * *"), "k")
    now = datetime(2026, 11, 26, tzinfo=UTC)
    runs, then = monthly.runs(datetime(2026, 9, 1, 6, tzinfo=UTC), now)
    assert runs == [datetime(2026, 11, 1, 6, tzinfo=UTC)]
    assert then == datetime(2026, 12, 1, 6, tzinfo=UTC)
