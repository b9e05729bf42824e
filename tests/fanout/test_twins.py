"""The same random operations on both twins give the same answers, errors included."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from forge_min import fanout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

small = st.integers(-1, 12)
floats = st.floats(-100, 100) | st.sampled_from([0.1, 1.0, float("inf"), float("nan")])


def outcome(call: Any, *args: Any) -> Any:
    """What a call gives, or the kind and text of its error."""
    try:
        return call(*args)
    except Exception as err:
        return type(err).__name__, getattr(err, "code", ""), str(err)


def same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)  # so that nan equals nan


def topic_trace(core: ModuleType, size: int, steps: list[tuple[str, int, int]]) -> list[Any]:
    topic = core.Topic(size)
    subscriptions = [topic.subscribe()]
    trace: list[Any] = []
    for what, number, other in steps:
        mine = subscriptions[number % len(subscriptions)]
        if what == "publish":
            for turn in range(max(other, 1)):
                trace.append(topic.publish(b"%d %d" % (number, turn)))
        elif what == "subscribe":
            made = outcome(topic.subscribe, None if number > 10 else number + other)
            if isinstance(made, tuple):
                trace.append(made)
            else:
                subscriptions.append(made)
        else:
            mine.close()
        trace.append(topic.subscribers)
    return trace


@QUICK
@given(
    st.integers(1, 9),
    st.lists(
        st.tuples(st.sampled_from(["publish", "subscribe", "close"]), small, small),
        max_size=60,
    ),
)
def test_topics_and_subscriptions(
    twins: tuple[ModuleType, ModuleType], size: int, steps: list[tuple[str, int, int]]
) -> None:
    compiled, python = (topic_trace(core, size, steps) for core in twins)
    assert compiled == python


def limiter_trace(
    core: ModuleType, caps: tuple[int, int], steps: list[tuple[bool, int]]
) -> list[Any]:
    limiter = core.Limiter(max_total=caps[0], max_per_user=caps[1])
    leases: list[Any] = []
    trace: list[Any] = []
    for acquire, number in steps:
        user = f"user{number % 4}"
        if acquire or not leases:
            got = outcome(limiter.acquire, user)
            if isinstance(got, tuple):
                trace.append(got)
            else:
                leases.append(got)
        else:
            lease = leases[number % len(leases)]
            trace.append((lease.user, lease.release()))
        trace.append((limiter.active, limiter.users, limiter.active_for(user)))
    return trace


@QUICK
@given(
    st.tuples(st.integers(0, 8), st.integers(0, 4)),
    st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=80),
)
def test_limiters(
    twins: tuple[ModuleType, ModuleType], caps: tuple[int, int], steps: list[tuple[bool, int]]
) -> None:
    compiled, python = (limiter_trace(core, caps, steps) for core in twins)
    assert compiled == python


def cells_trace(core: ModuleType, bounds: list[float], steps: list[float]) -> list[Any]:
    trace: list[Any] = []
    counter = core.Counter()
    histogram = outcome(core.Histogram, bounds)
    if isinstance(histogram, tuple):
        return [histogram]
    for x in steps:
        trace.append(outcome(counter.inc, x))
        trace.append(outcome(histogram.observe, x))
        trace.append((counter.value, histogram.snapshot()))
    return trace


@QUICK
@given(
    st.lists(floats, max_size=6) | st.lists(st.floats(-50, 50), max_size=6).map(sorted),
    st.lists(floats, max_size=30),
)
def test_counters_and_histograms(
    twins: tuple[ModuleType, ModuleType], bounds: list[float], steps: list[float]
) -> None:
    compiled, python = (cells_trace(core, bounds, steps) for core in twins)
    assert same(compiled, python)


FUNCTIONS = (
    "try_format_access_line",
    "escape",
    "make_rows",
    "iso_utc",
    "try_format_response",
    "try_read_request",
    "try_encode_json",
    "try_format_head",
    "begin_wait",
    "end_wait",
    "uuid_text",
)


def test_both_have_the_same_public_names(twins: tuple[ModuleType, ModuleType]) -> None:
    for name in fanout.__all__:
        if name in ("IMPL", *FUNCTIONS, "BodyRefused", "CHUNKED", "read_body"):
            continue  # the reader of bodies in Python is the reference of both
        public = [
            {member for member in dir(getattr(core, name)) if not member.startswith("_")}
            for core in twins
        ]
        assert public[0] == public[1], name


@dataclass(frozen=True, slots=True)
class Point:
    """What `make_rows` makes."""

    x: int
    y: object


def test_objects_are_filled_from_the_first_values(twins: tuple[ModuleType, ModuleType]) -> None:
    for core in twins:
        rows = [(1, "a"), [2, None, "more"], (UUID(int=3), 4.5)]
        made = core.make_rows(Point, ("x", "y"), rows)
        assert made == [Point(1, "a"), Point(2, None), Point(UUID(int=3), 4.5)]  # type: ignore[arg-type]
        assert core.make_rows(Point, ("x", "y"), []) == []
        with pytest.raises(FrozenInstanceError):
            made[0].x = 5
        with pytest.raises(TypeError, match="1 values for 2 names"):
            core.make_rows(Point, ("x", "y"), [(1, 2), (3,)])
        with pytest.raises(AttributeError):
            core.make_rows(Point, ("x", "z"), [(1, 2)])


@given(st.uuids() | st.text() | st.integers())
def test_uuids_are_written(value: object) -> None:
    assert fanout.uuid_text(value) == str(value)
