"""The first connection of a process."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from forge_min import db
from forge_min.app.first import FirstConnection
from forge_min.errors import Unavailable
from forge_min.testing import TestDatabase


@pytest.mark.db
def test_who_asks_gets_the_one_that_was_opened_meanwhile(fresh_database: TestDatabase) -> None:
    opened: list[str] = []
    ours = db.Database(
        fresh_database.app_url, opened=lambda conn: opened.append(threading.current_thread().name)
    )
    first = FirstConnection(ours)
    conn = first.answer()
    assert conn is first.answer() and conn.execute("select 1").fetchone() == (1,)
    assert opened == ["first-connection", threading.current_thread().name]
    assert ours.connection() is conn
    ours.close()


def test_a_refusal_is_raised_where_it_is_asked_for_and_nobody_asks_the_server_twice() -> None:
    asked = 0

    def refusing(listener: socket.socket) -> None:
        nonlocal asked
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            asked += 1
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=refusing, args=[listener], daemon=True).start()
        url = f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable&gssencmode=disable"
        first = FirstConnection(db.Database(url))
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                first.answer()
            assert caught.value.code == "F401"
        time.sleep(0.05)
        assert asked == 1
        listener.shutdown(socket.SHUT_RDWR)
