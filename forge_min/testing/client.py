"""Starts a project's application inside this process, and calls it without sockets."""

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
    """Start the project with the importable gen/ and app.py on a database, without workers.

    environ: configuration as in the environment, such as FORGE_API_PREFIX="/api".

    Yields the runtime, which is stopped afterwards. Raises the errors of `Runtime`.
    """
    environ["FORGE_DATABASE_URL"] = database.app_url
    runtime = load_project(environ).start(serving=True)
    try:
        yield runtime
    finally:
        runtime.stop()


class ClientResponse(NamedTuple):
    """A response of the application.

    headers: their names in any case; `get_all` returns repeated ones.
    body: b"" for a stream of events, which is closed at once.
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
        """The body as JSON. Raises ValueError if it is not JSON."""
        return jsonlib.loads(self.body)


class Client:
    """Sends requests to an application.

    application: a PEP 3333 callable, or an object with one as `.application`, as a started App has.
    identity: of the client; None = the identity of the test. Middleware of the application may set
        another one.
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
    ) -> ClientResponse:
        """Send a request and return the whole response.

        path: with its query, percent-encoded.
        json: sent as the body; values without a JSON form (UUID, Decimal, date) are sent as text.
        """
        fields = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json, default=str).encode()
            fields = {"Content-Type": "application/json"} | fields
        target, _, query = path.partition("?")
        environ: dict[str, Any] = {environ_key(name): value for name, value in fields.items()}
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(target).decode("latin-1"),
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

    def _call(self, environ: dict[str, Any]) -> ClientResponse:
        started: list[tuple[int, Headers]] = []

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
            started.append((int(status[:3]), Headers(headers)))

        result = self._application(environ, start)
        status, headers = started[-1]
        body = b""
        try:
            if not str(headers["Content-Type"]).startswith("text/event-stream"):
                body = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        return ClientResponse(status, headers, body)
