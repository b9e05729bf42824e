"""What our server and `Application` agree on beyond PEP 3333.

Both work without the other: every key may be missing, and every attribute too.

Keys of environ that the server sets:

* STREAM, `forge.stream`: call it with `adopt` before the response begins. After the head and body
  of this response, `adopt(fd)` is called once with the file descriptor of the connection, or with
  -1 if there is nothing to stream to. The caller owns the descriptor.
* CONNECTED, `forge.connected`: returns whether the client is still connected.
* PARKS, `forge.parks`: the server can keep a request that raises `Parked`.
* TRUSTED_PROXY, `forge.trusted_proxy`: whether the peer is one of server.trusted_proxies.
* STATUS, `forge.status`: the status with which the server has responded in the application's place.
* REPORTED, `forge.reported`: whether that response is already in the metrics and the access log.

Keys of environ that the application sets:

* REQUEST_ID_KEY, `forge.request_id`: the id of the request, also for the server's log.
* ROUTE, `forge.route`: the pattern of the matching route, also for the server's log.
* RELEASE, `forge.release`: a function without parameters that ends the request's share of
  `ConcurrencyLimit`. The server calls it if the application does not return.
* ERROR, `forge.error`: the exception behind a response of 500 or 503, for the span.

Attributes of the returned body that the server reads:

* forge_context: the `contextvars.Context` of the request, for the log.
* forge_fail(error, *, begun): the response ends with this exception. begun: a part was sent.

`OnServerResponse` is called by the server, `Parked` is raised by the application.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..lazy import lazy_pattern
from ..resources import table

STREAM = "forge.stream"
CONNECTED = "forge.connected"
PARKS = "forge.parks"
TRUSTED_PROXY = "forge.trusted_proxy"
STATUS = "forge.status"
REPORTED = "forge.reported"
REQUEST_ID_KEY = "forge.request_id"
ROUTE = "forge.route"
RELEASE = "forge.release"
ERROR = "forge.error"

REQUEST_ID = lazy_pattern(r"[A-Za-z0-9._-]{1,64}")
"""A well-formed X-Request-ID of a client."""

SECURITY_HEADERS: tuple[tuple[str, str], ...] = tuple(table(__package__, "headers.toml").items())
"""Sent with every response. A header that the handler sets takes precedence."""

OnServerResponse = Callable[[dict[str, Any], int, str, float], None]
"""Called with (environ, status, detail, seconds) for each request to which the server responds.

The request was refused, or its handler took too long. Unknown methods and paths are "-".
"""


class Parked(BaseException):
    """The request waits for its turn without a thread. The server keeps it and runs it again.

    until: time.monotonic() at which to run it again at the latest.
    wait: called with a function that resumes the request earlier and returns whether it was still
        waiting.
    """

    def __init__(self, until: float, wait: Callable[[Callable[[], bool]], None]) -> None:
        super().__init__("parked")
        self.until = until
        self.wait = wait


def request_id(environ: dict[str, Any]) -> str:
    """Return the request's id, and set it in environ.

    It is the application's, else a well-formed one of the client, else a new one.
    """
    if REQUEST_ID_KEY not in environ:
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        if not REQUEST_ID.fullmatch(sent):
            sent = os.urandom(8).hex()
        environ[REQUEST_ID_KEY] = sent
    id: str = environ[REQUEST_ID_KEY]
    return id


@lru_cache(1000)
def environ_key(name: str) -> str:
    """Return the environ key of a header (PEP 3333)."""
    key = name.upper().replace("-", "_")
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return key
    return f"HTTP_{key}"
