"""An admin server of the test's own, without a database, and how it is asked."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from admin_server import new_server


class Told(NamedTuple):
    """An answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Desk:
    """A running admin server."""

    def __init__(self, **options: Any) -> None:
        self.server = new_server(**options)
        self.server.start()

    def connect(self, timeout: float = 20.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)

    def ask(
        self,
        path: str,
        method: str = "GET",
        form: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Told:
        """headers: Sec_Fetch_Site is Sec-Fetch-Site."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None
        if form is not None:
            method, body = "POST", urlencode(form)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        client = self.connect()
        try:
            client.request(method, path, body, sent)
            answer = client.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return Told(answer.status, got, answer.read())
        finally:
            client.close()


@pytest.fixture
def desk_of() -> Iterator[Callable[..., Desk]]:
    """Starts an admin server with these options."""
    desks: list[Desk] = []

    def start(**options: Any) -> Desk:
        desks.append(Desk(**options))
        return desks[-1]

    yield start
    for desk in desks:
        desk.server.stop()
