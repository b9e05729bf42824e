"""HTTP/1.1 as bytes, without sockets: heads, bodies, refusals, forwarding headers."""

from .forwarded import TrustedProxies
from .reader import Phase, read_requests
from .refusal import FAILED, STARTING, ProtocolError, problem
from .response_head import Fields, Head, checked_head, date_line

__all__ = [
    "FAILED", "Fields", "Head", "Phase", "ProtocolError", "STARTING", "TrustedProxies",
    "checked_head", "date_line", "problem", "read_requests",
]  # fmt: skip
