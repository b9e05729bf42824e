"""A stream of server-sent events as bytes (WHATWG HTML, section 9.2).

Frames, and a response body for servers that cannot hand over the socket.
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
    """Return the bytes of one event.

    event: its name.
    data: one JSON object. It cannot break out of its line, because JSON escapes control characters
        (RFC 8259, section 7).
    id: the id from which a client resumes; None means no id.

    Raises ValueError for a name or id with a line break or NUL, for an empty name, and for NaN or
    an infinity in the data; TypeError for values that JSON cannot express.
    """
    if not event or _FORBIDDEN.search(event):
        raise ValueError(f"an event's name must be one line, not {event!r}")
    if id is not None and _FORBIDDEN.search(id):
        raise ValueError(f"an event's id must be one line, not {id!r}")
    head = f"event: {event}\n"
    if id is not None:
        head += f"id: {id}\n"
    text = f"{head}data: {_encode(dict(data))}\n\n"
    # A lone surrogate has no UTF-8; its backslash escape is JSON's own.
    return text.encode("utf-8", "backslashreplace")


def close_frame(reason: str) -> bytes:
    """Return the last frame of a stream.

    reason: a client reconnects only after "shutdown" and "changed".
    """
    return frame("close", {"reason": reason})


def encode_json(event: Event) -> bytes:
    """Encode an event as a frame named by its kind, in every format the same.

    Data: "id", "version" and "changed" of a row, and "payload" if the publisher gave one. It names
    a row without its values, so a client cannot learn values that it may not read.
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
    """The bytes that a StreamWriter sends to one end of a socket pair, until it closes that end.

    It occupies one thread until it ends, which `environ["forge.stream"]` avoids. It is a class and
    not a generator, because close() must end the stream also if no item was read (PEP 3333 permits
    that of a server).

    adopt: called with the writer's end, as by `environ["forge.stream"]`. Its errors are raised.
    """

    def __init__(self, adopt: Callable[[int], object]) -> None:
        self._socket, other = socket.socketpair()
        adopt(other.detach())

    def __next__(self) -> bytes:
        """Wait for the next bytes, which may be part of a frame or several frames."""
        data = b""
        with suppress(OSError):  # closed by another thread
            data = self._socket.recv(_CHUNK)
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """End the stream; the writer then releases its lease. Idempotent, from any thread."""
        with suppress(OSError):  # it may be closed; else this wakes the thread in recv
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
