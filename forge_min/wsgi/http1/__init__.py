"""HTTP/1.1 as bytes, without sockets: heads, bodies, refusals, forwarding headers."""

from .forwarded import TrustedProxies
from .reader import ExpectedBody, Phase, Reader, read_requests, refused_body
from .refusal import FAILED, STARTING, ProtocolError, problem
from .response_head import Fields, Head, checked_head, date_line

__all__ = [
    "ExpectedBody", "FAILED", "Fields", "Head", "Phase", "ProtocolError", "Reader", "STARTING",
    "TrustedProxies", "checked_head", "date_line", "problem", "read_requests", "refused_body",
]  # fmt: skip
