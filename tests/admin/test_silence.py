"""What the admin server tells of processes of which one hangs, and whom that keeps waiting."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min.ops.health import Health
from forge_min.ops.processes.parent_channel import ChildInspector, serve_requests, socket_pairs


@pytest.fixture
def desk(desk_of: Any) -> Iterator[Any]:
    """The admin server of two processes: the first hangs, the second answers."""
    questions = socket_pairs(2)
    threading.Thread(target=serve_requests, args=[questions[1][1], Health({})], daemon=True).start()
    yield desk_of(inspector=ChildInspector([asking for asking, _ in questions]))
    for end in (end for pair in questions for end in pair):
        end.shutdown(socket.SHUT_RDWR)
        end.close()


@pytest.mark.thorough
def test_a_process_that_hangs_is_named_and_the_stacks_of_the_others_come_soon(desk: Any) -> None:
    told = desk.ask("/debug/pprof/threads")
    assert told.status == 200 and told.text.startswith(f"process 2 (pid {os.getpid()})\n")
    assert told.text.endswith("\nprocess 1: no answer\n")
    told = desk.ask("/debug/pprof/threads?process=1")
    assert (told.status, told.text) == (503, "no answer from: 1\n")


@pytest.mark.thorough
def test_traces_say_who_has_not_answered_to_each_reader(desk: Any) -> None:
    assert desk.ask("/debug/traces").text.endswith("\nprocess 1: no answer\n")
    assert "process 1: no answer" in desk.ask("/debug/traces", Accept="text/html").text
    told = desk.ask("/debug/traces", Accept="application/json")
    assert json.loads(told.text) == [] and told.headers["x-no-answer"] == "process 1: no answer"


@pytest.mark.thorough
def test_however_many_ask_for_what_hangs_the_probe_is_answered_soon(desk: Any) -> None:
    paths = ["/debug/pprof/threads", "/debug/traces"] * 10
    with ThreadPoolExecutor(len(paths)) as pool:
        asked = [pool.submit(desk.ask, path) for path in paths]
        time.sleep(0.5)
        begun = time.monotonic()
        assert desk.ask("/healthz").status == 200
        assert time.monotonic() - begun < 10, "after all of these it would be 20 s"
        assert {one.result().status for one in asked} == {200}


@pytest.mark.thorough
def test_a_profile_says_of_whom_it_is_not(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_min.ops.processes.parent_channel.PATIENCE", 1.0)
    told = desk.ask("/debug/pprof/profile?seconds=0.2&clock=wall")
    assert told.headers["x-profiled"] == f"process 2; pid={os.getpid()}, process 1: no answer"
    assert desk.ask("/debug/pprof/gc").text.endswith("\nprocess 1: no answer\n")
    told = desk.ask("/debug/pprof/gc", Accept="application/json")
    assert json.loads(told.text)["no_answer"] == ["1"]
