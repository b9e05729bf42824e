"""HTTP/1.1 as bytes: heads and bodies read and written, refusals, what proxies say. No sockets."""

from .answer import Fields, Head, checked_head, date_line
from .forwarded import TrustedProxies, warn_of_untrusted
from .reader import Phase, read_requests
from .refusal import FAILED, REQUEST_ID, STARTING, OnAnswered, Parked, Refused, problem, request_id

__all__ = [
    "FAILED", "Fields", "Head", "OnAnswered", "Parked", "Phase", "REQUEST_ID", "Refused",
    "STARTING", "TrustedProxies", "checked_head", "date_line", "problem", "read_requests",
    "request_id", "warn_of_untrusted",
]  # fmt: skip
