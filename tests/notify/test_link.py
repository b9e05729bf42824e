"""The loop of a thread that works with the database: pauses, new connections, the last step."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from forge_min.db.thread import DatabaseThread, ThreadConnection


class Fake:
    """As much of a connection as a link knows."""

    closed = is_outdated = False

    def close(self) -> None:
        self.closed = True

    def note_error(self, error: BaseException) -> None:
        """It is closed by the loop, whatever the error."""


def test_a_broken_connection_is_replaced() -> None:
    link = ThreadConnection(Fake)  # type: ignore[arg-type]
    first = link.connection()
    assert link.connection() is first
    first.close()
    assert link.connection() is not first
    link.close()
    link.close()
    assert link.conn is None


def test_a_step_that_fails_is_done_again_on_a_new_connection(kit: Any) -> None:
    seen: list[Any] = []

    def step() -> None:
        seen.append(loop.connection())
        if len(seen) < 4:
            raise psycopg.OperationalError("gone")
        loop.rest()

    loop = DatabaseThread("test", step, Fake)  # type: ignore[arg-type]
    loop.start()
    loop.start()
    kit.wait_for(lambda: len(seen) == 4)
    loop.stop()
    loop.stop()
    assert len(set(map(id, seen[:4]))) == 4 and all(conn.closed for conn in seen)
    assert "test" not in [thread.name for thread in threading.enumerate()]


def test_the_last_step_follows_the_stop_and_is_tried_again_while_there_is_patience(
    kit: Any,
) -> None:
    steps: list[bool] = []

    def step() -> None:
        steps.append(False)
        loop.rest()

    def last_step() -> None:
        steps.append(True)
        if steps.count(True) < 3:
            raise OSError("away")

    loop = DatabaseThread("test", step, None, last_step=last_step)
    loop.start()
    kit.wait_for(lambda: steps)
    loop.stop(patience=5.0)
    assert steps == [False, True, True, True]


def test_a_stop_without_patience_does_not_wait_for_a_database_that_is_away(kit: Any) -> None:
    tried = threading.Event()

    def step() -> None:
        tried.set()
        raise OSError("away")

    loop = DatabaseThread("test", step, None)
    loop.start()
    assert tried.wait(5)
    thread = loop._thread
    loop.stop()
    assert thread is not None and not thread.is_alive(), "left behind"
