"""Server-sent events as bytes: frames, and a stream where no stream writer can be. No HTTP."""

from ..fanout import Lease, Limiter
from .frames import close_frame, encode_json, frame, refresh
from .stream import HEARTBEAT, ByteStream, stream

__all__ = [
    "HEARTBEAT", "ByteStream", "Lease", "Limiter", "close_frame", "encode_json", "frame", "refresh",
    "stream",
]  # fmt: skip
