"""A project's application inside this process: started, and called without sockets."""

from __future__ import annotations

import io
import json as jsonlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes
from wsgiref.headers import Headers
from wsgiref.util import setup_testing_defaults

from ..app import Runtime
from ..auth import Identity, as_identity, current_identity
from ..ops import load_project
from ..wsgi import environ_key
from .database import TestDatabase


@contextmanager
def running_app(database: TestDatabase, **environ: str) -> Iterator[Runtime]:
    """The project whose gen/ and app.py can be imported, started on `database`; no worker runs.

    environ: configuration as in the environment, FORGE_API_PREFIX="/api". Raises as `Runtime`.
    """
    environ["FORGE_DATABASE_URL"] = database.app_url
    running = load_project(environ).start(serving=True)
    try:
        yield running
    finally:
        running.stop()


class Answer(NamedTuple):
    """headers: names in any case; get_all for repeated ones. body: b"" for a stream of events,
    which is closed at once.
    """

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return jsonlib.loads(self.body)


class Client:
    """application: a PEP 3333 callable, or what has one as `.application`, as a started App does.

    identity: who calls; None = whoever the test is. Middleware of the application may say
    otherwise.
    """

    def __init__(self, application: Any, identity: Identity | None = None) -> None:
        self._application = getattr(application, "application", application)
        self.identity = identity

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its whole answer. path: with its query, percent-encoded. json: sent as
        the body; what JSON has no word for (UUID, Decimal, date) as its text.
        """
        given = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json, default=str).encode()
            given = {"Content-Type": "application/json"} | given
        name, _, query = path.partition("?")
        environ: dict[str, Any] = {environ_key(header): given[header] for header in given}
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(name).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "wsgi.input": io.BytesIO(body),
        }
        setup_testing_defaults(environ)
        with as_identity(self.identity or current_identity()):
            return self._call(environ)

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def _call(self, environ: dict[str, Any]) -> Answer:
        begun: list[tuple[int, Headers]] = []

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
            begun.append((int(status[:3]), Headers(headers)))

        result = self._application(environ, start)
        status, named = begun[-1]
        try:
            stream = str(named["Content-Type"]).startswith("text/event-stream")
            return Answer(status, named, b"" if stream else b"".join(result))
        finally:
            getattr(result, "close", lambda: None)()
