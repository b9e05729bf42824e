"""Mail servers of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mail_server import Inbox, MailServer, write_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For localhost, with its key."""
    return write_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Inbox, int]]]:
    """Starts a server; returns its inbox and its port."""
    started: list[MailServer] = []

    def start(**options: Any) -> tuple[Inbox, int]:
        started.append(MailServer(**options))
        return started[-1].inbox, started[-1].port

    yield start
    for server in started:
        server.stop()
