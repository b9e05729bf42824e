# The interface of both twins, _fanout.pyx and _fanout_py.py: same names, same behaviour.
# The docstrings of _fanout_py.py describe both. The fast paths, which only the compiled core has,
# are described here.

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar, final

T = TypeVar("T")

def try_format_access_line(
    now: float,
    method: str,
    path: str,
    status: int,
    seconds: float,
    fields: Mapping[str, object],
    span: tuple[int, int, bool] | None,
) -> str | None:
    """Return a line of the access log as ASCII JSON with its line end, or None when unsure.

    Unsure are: text that is not ASCII or may hold a secret (such as "Bearer …" or "token%3D…": any
    with a space, an escape or a sign of a pair), a field that is not a simple value or not one of
    request_id, route, user_id and tenant_id, an invalid status or time.

    now: Unix time.
    seconds: duration of the request.
    span: ids of a trace and of a span in it, and whether it is sampled.
    """

def begin_wait() -> None: ...
def end_wait() -> None: ...
def escape(value: object) -> str: ...
def make_rows(
    kind: type[T], names: tuple[str, ...], rows: Iterable[Sequence[object]]
) -> list[T]: ...
def iso_utc(moment: datetime) -> str: ...
def try_format_response(
    head: tuple[int, bytes, int | None, bool], body: list[bytes]
) -> bytes | None:
    """Return a complete response with Date and Content-Length, or None when unsure.

    The connection stays open after it. Unsure are: a body that is empty, not bytes, or of another
    length than its head has, a status without a body, a head with a Date. Then
    `wsgi.server.exchange` formats the response.
    """

def try_read_request(data: bytearray, base: dict[str, Any], max_body: int) -> dict[str, Any] | None:
    """Remove a request from the front of `data` and return its environ, as `read_requests` does.

    For tests: `IoThread` finds and reads plain requests with the same code.

    Returns None, and removes nothing, when unsure or if the request is not complete.
    """

def try_encode_json(value: object) -> bytes | None:
    """Return the value as JSON (RFC 8259) in UTF-8 without spaces, or None when unsure.

    Unsure are values other than simple texts, numbers, lists and objects: Python's `json` encodes
    them. Raises UnicodeEncodeError for half of a surrogate pair.
    """

def try_format_head(
    status: str,
    headers: Sequence[tuple[str, str]],
    statuses: Mapping[str, tuple[int, bytes]],
    kinds: Mapping[str, str],
) -> tuple[int, bytes, int | None, bool] | None:
    """Return the checked head of a response, as `wsgi.http1` does in Python, or None when unsure.

    statuses: valid statuses → number and status line.
    kinds: valid names of fields → the name in lower case if the server uses the field, else "".
    """

def uuid_text(value: object) -> str: ...

@final
class Lease:
    @property
    def user(self) -> str: ...
    def release(self) -> bool: ...
    def __enter__(self) -> Lease: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
class Limiter:
    def __init__(self, *, max_total: int, max_per_user: int) -> None: ...
    def acquire(self, user: str) -> Lease: ...
    def active_for(self, user: str) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def users(self) -> int: ...
    @property
    def max_total(self) -> int: ...
    @property
    def max_per_user(self) -> int: ...

@final
class Topic:
    def __init__(self, size: int = 64) -> None: ...
    def publish(self, frame: bytes) -> int: ...
    def subscribe(self, after: int | None = None) -> Subscription: ...
    @property
    def subscribers(self) -> int: ...

@final
class Subscription:
    def close(self) -> None: ...

@final
class StreamWriter:
    def __init__(
        self, *, heartbeat: float = 15.0, write_timeout: float = 30.0, buffer_size: int = 32
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self, timeout: float = 5.0, farewell: bytes = b"") -> None: ...
    def adopt(
        self,
        fd: int,
        subscriptions: Sequence[Subscription],
        lease: Lease | None = None,
        first: bytes = b"",
    ) -> int: ...
    def drop(self, stream: int, farewell: bytes = b"") -> bool: ...
    def alive(self, stream: int) -> bool: ...
    @property
    def connections(self) -> int: ...
    @property
    def frames_sent(self) -> int: ...
    @property
    def refreshes(self) -> int: ...

@final
class IoThread:
    def __init__(
        self,
        listener: int,
        base: dict[str, Any],
        *,
        max_body: int,
        max_pending: int,
        max_connections: int,
        max_per_network: int,
        idle: float,
        head: float,
        body: float,
        write: float,
    ) -> None: ...
    @property
    def connections(self) -> int: ...
    def worker(self) -> ServerWorker: ...
    def take_accept_error(self) -> int: ...
    def end_connections(self) -> None: ...
    def drain(self) -> None: ...
    def stop(self) -> None: ...
    def run(self) -> None: ...

@final
class ServerWorker:
    def next_task(self) -> Task | None: ...

@final
class Task:
    kind: str
    value: Any
    state: Any
    waited: float
    @property
    def base_environ(self) -> dict[str, Any]: ...
    @property
    def connected(self) -> bool: ...
    @property
    def last(self) -> bool: ...
    @property
    def unsent(self) -> int: ...
    def exempt_network(self) -> None: ...
    def put_back(self, size: int) -> None: ...
    def respond(self, data: bytes) -> bool: ...
    def end(self, data: bytes, *, unless_begun: bool = False) -> bool: ...
    def send(self, data: bytes) -> bool: ...
    def wait_sent(self, data: bytes, state: object) -> bool: ...
    def wait_input(self, phase: str, state: object, data: bytes = b"") -> bool: ...
    def wait_body(self, length: int, state: object, data: bytes = b"") -> bool: ...
    def detach(self, data: bytes, state: object) -> bool: ...

@final
class Counter:
    def inc(self, n: float = 1.0) -> None: ...
    @property
    def value(self) -> float: ...

@final
class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None: ...
    def observe(self, x: float) -> None: ...
    def snapshot(self) -> tuple[list[int], float, int]: ...
    @property
    def bounds(self) -> tuple[float, ...]: ...
