"""A stream of server-sent events as bytes (WHATWG HTML, section 9.2).

Frames, and a response body where the socket cannot be handed over.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from ..lazy import lazy_pattern
from ..notify import Event

# A field ends at CR, LF or CRLF (9.2.5), and an id with NUL is ignored (9.2.6).
_FORBIDDEN = lazy_pattern(r"[\r\n\0]")

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_CHUNK = 65536  # bytes read at once


def frame(event: str, data: Mapping[str, object], id: str | None = None) -> bytes:
    """One event: its name, one JSON object, and the id that a client resumes from (None: no id).

    Raises ValueError when name or id hold a line break or NUL, when the name is empty, or when the
    data hold NaN or an infinity; TypeError when they hold what JSON has no word for. The data
    themselves cannot break out of their line: JSON escapes control characters (RFC 8259, 7).
    """
    if not event or _FORBIDDEN.search(event):
        raise ValueError(f"an event's name must be one line, not {event!r}")
    if id is not None and _FORBIDDEN.search(id):
        raise ValueError(f"an event's id must be one line, not {id!r}")
    head = f"event: {event}\n" if id is None else f"event: {event}\nid: {id}\n"
    text = f"{head}data: {_encode(dict(data))}\n\n"
    # A lone surrogate has no UTF-8; its backslash escape is JSON's own.
    return text.encode("utf-8", "backslashreplace")


def close_frame(reason: str) -> bytes:
    """The last frame of a stream. A client comes back after "shutdown" and "changed" only."""
    return frame("close", {"reason": reason})


def encode_json(event: Event) -> bytes:
    """Encode an event as a frame named by its kind, in every format the same.

    Data: "id", "version" and "changed" of a row, and "payload" if the publisher gave one. It names
    a row without its values, so no client learns what it may not read.
    """
    data: dict[str, object] = {}
    if event.resource_id is not None:
        data["id"] = event.resource_id
        data["version"] = event.version
        data["changed"] = list(event.changed)
    if event.payload is not None:
        data["payload"] = dict(event.payload)
    return frame(event.kind, data, event.sse_id)


class ByteStream(Iterator[bytes]):
    """Reads what a StreamWriter sends to one end of a socket pair; ends when the writer closes it.

    It costs one thread for as long as it lives, which `environ["forge.stream"]` avoids. A class and
    not a generator: close() must end the stream also when no item was read (PEP 3333 lets a server
    do so).

    adopt: called with the writer's end, as `environ["forge.stream"]` calls it. Raises what it
    raises.
    """

    def __init__(self, adopt: Callable[[int], object]) -> None:
        self._socket, other = socket.socketpair()
        adopt(other.detach())

    def __next__(self) -> bytes:
        """The next bytes, of one or several frames. Waits for them."""
        data = b""
        with suppress(OSError):  # closed by another thread
            data = self._socket.recv(_CHUNK)
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """End the stream; the writer then releases its lease. Idempotent, from any thread."""
        with suppress(OSError):  # closed before; else it wakes the thread that waits in recv
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
