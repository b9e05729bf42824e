"""The fields of every record that is logged while a request or a job runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

log_fields: ContextVar[Mapping[str, object]] = ContextVar(
    "forge_log_fields", default=MappingProxyType({})
)
"""Fields of every record logged in this context: request_id, user_id, tenant_id, route, job..."""


def note(**fields: object) -> None:
    """Add fields to the records of the request or job that this context is in."""
    known = log_fields.get()
    if isinstance(known, dict):  # SAFETY: of this request alone, which has made it
        known.update(fields)


@contextmanager
def noting(**fields: object) -> Iterator[None]:
    """Begin anew with these fields, and `note` more of them, within the block."""
    token = log_fields.set(fields)
    try:
        yield
    finally:
        log_fields.reset(token)
