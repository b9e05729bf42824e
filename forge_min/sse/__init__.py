"""Server-sent events as bytes: frames, and streams as iterators. Nothing of HTTP is here."""

from ..fanout import Lease, Limiter
from .frames import ByteStream, close_frame, encode_json, frame

__all__ = ["ByteStream", "Lease", "Limiter", "close_frame", "encode_json", "frame"]
