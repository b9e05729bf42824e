"""/debug/pprof/ over HTTP: what is asked, what is refused, how it looks."""

from __future__ import annotations

import json
import re
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import pytest

PPROF = "/debug/pprof/"
COLLAPSED = re.compile(r"([^\s;]+(;[^\s;]+)* [1-9][0-9]*\n)*")


@pytest.fixture
def burner() -> Iterator[None]:
    """A thread of that name that is never idle."""
    stop = threading.Event()

    def a_function_to_find() -> None:
        while not stop.is_set():
            sum(n * n for n in range(500))

    thread = threading.Thread(target=a_function_to_find, name="burner")
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    "accept", [None, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "image/*"]
)
def test_a_profile_is_collapsed_stacks_for_every_client(
    desk_of: Any, burner: None, accept: str | None
) -> None:
    """A browser gets the same text as a terminal: flame graph tools read it."""
    headers = {} if accept is None else {"Accept": accept}
    told = desk_of().ask(f"{PPROF}profile?seconds=0.3&hz=200&process=1", **headers)
    assert told.status == 200 and told.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"process 1; pid=\d+", told.headers["x-profiled"])
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert COLLAPSED.fullmatch(told.text) and "burner;" in told.text
    assert "a_function_to_find" in told.text


@pytest.mark.parametrize(
    "query",
    ["profile?seconds=0", "profile?seconds=120.1", "profile?seconds=-1", "profile?seconds=nan",
     "profile?seconds=inf", "profile?seconds=1e1", "profile?seconds=" + "9" * 4000,
     "profile?seconds=%D9%A3", "profile?seconds=1_0", "profile?hz=0", "profile?hz=1001",
     "profile?hz=1.5", "profile?clock=sun", "profile?process=2", "profile?process=%00",
     "profile?process=-1", "heap?seconds=x", "heap?top=0", "heap?top=1001", "gc?top=x",
     "threads?process=no", "profile?seconds=%ff"],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_in_a_sentence(desk_of: Any, query: str) -> None:
    told = desk_of().ask(PPROF + query)
    assert told.status == 400 and told.headers["content-type"].startswith("text/plain")
    assert 10 < len(told.text) < 200 and told.text.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [("profile", "POST", "GET, HEAD, OPTIONS"), ("heap", "DELETE", "GET, HEAD, OPTIONS, POST"),
     ("gc", "POST", "GET, HEAD, OPTIONS"), ("threads", "PUT", "GET, HEAD, OPTIONS"),
     ("", "POST", "GET, HEAD, OPTIONS"), ("../../metrics", "GET", None), ("nothing", "GET", None)],
)  # fmt: skip
def test_methods_are_those_that_a_path_has(
    desk_of: Any, path: str, method: str, allowed: str | None
) -> None:
    told = desk_of().ask(PPROF + path, method)
    assert (told.status, told.headers.get("allow")) == ((405, allowed) if allowed else (404, None))


def test_of_ten_at_once_one_is_taken_and_all_else_is_answered_meanwhile(desk_of: Any) -> None:
    desk = desk_of()
    assert desk.ask(f"{PPROF}profile?seconds=0.1&clock=wall").status == 200
    with ThreadPoolExecutor(11) as pool:
        path = f"{PPROF}profile?seconds=100&clock=wall"  # one gets the turn that was given back
        asked = [pool.submit(desk.ask, path) for _ in range(10)]
        refused = [one.result() for one in islice(as_completed(asked), 9)]
        assert desk.ask("/metrics").status == 200
        assert sum(one.done() for one in asked) == 9
        desk.server.stop()
        told = [one.result() for one in asked]
    assert sorted(one.status for one in told) == [200] + [503] * 9
    for one in refused:
        assert 1 <= int(one.headers["retry-after"]) <= 100 and "one at a time" in one.text


def test_a_profile_that_runs_does_not_hold_up_the_end(desk_of: Any) -> None:
    desk = desk_of()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(desk.ask, f"{PPROF}profile?seconds=100&clock=wall")
        while not any("sample" in line for line in _stacks(desk)):
            assert not asked.done()
        begun = time.monotonic()
        desk.server.stop()
        assert time.monotonic() - begun < 60, "the profile would take 100 s"
        assert asked.result().status == 200


def _stacks(desk: Any) -> list[str]:
    return [line for line in desk.ask(f"{PPROF}threads").text.splitlines() if "sampling.py" in line]


def test_memory_is_traced_between_start_and_stop_and_told_as_text_or_json(desk_of: Any) -> None:
    desk = desk_of()
    assert re.search(r"\ntracing +False\n", desk.ask(f"{PPROF}heap").text)
    started = desk.ask(f"{PPROF}heap", form={"action": "start"}).text
    assert re.search(r"\ntracing +True\n", started)
    try:
        desk.ask(f"{PPROF}heap")
        told = desk.ask(f"{PPROF}heap?top=2", Accept="application/json")
        assert told.headers["content-type"] == "application/json"
        (one,) = json.loads(told.body)["processes"]
        assert one["process"] == "1" and one["tracing"] is True and len(one["top"]) == 2
        assert re.fullmatch(r".+:\d+", one["top"][0]["where"])
        text = desk.ask(f"{PPROF}heap").text
        assert re.search(r"\ntop: bytes, blocks, where\n +[0-9,]+ +[0-9,]+  .+:\d+\n", text)
    finally:
        stopped = desk.ask(f"{PPROF}heap", form={"action": "stop"}).text
        assert re.search(r"\ntracing +False\n", stopped)
    assert not tracemalloc.is_tracing()
    assert desk.ask(f"{PPROF}heap", form={"action": "explode"}).status == 400
    told = desk.ask(f"{PPROF}heap?seconds=0.2&top=3")
    assert told.status == 200 and "\ntop: " in told.text and not tracemalloc.is_tracing()


def test_the_collector_is_told_as_text_or_json(desk_of: Any) -> None:
    desk = desk_of()
    text = desk.ask(f"{PPROF}gc?top=200").text
    assert "\ngenerations: collections, " in text
    assert re.search(r"\d  (builtins\.)?function\n", text)
    (one,) = json.loads(desk.ask(f"{PPROF}gc", Accept="application/json").body)["processes"]
    assert one["frozen"] >= 0 and len(one["types"]) == 30


@pytest.mark.thorough
def test_queries_without_end_leave_nothing_behind(desk_of: Any) -> None:
    desk = desk_of()
    client = desk.connect()

    def ask(first: int, last: int) -> None:
        for n in range(first, last):
            path = (f"/metrics?x={n}", f"{PPROF}profile?process=p{n}", f"{PPROF}gc?top=x{n}")[n % 3]
            client.request("GET", path, headers={"Accept": f"text/x-{n}"})
            client.getresponse().read()

    ask(0, 300)
    tracemalloc.start()
    try:
        ask(300, 600)
        before = tracemalloc.get_traced_memory()[0]
        ask(600, 3600)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
        client.close()
