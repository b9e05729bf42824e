"""Logs: the handler of stdlib logging, the access log, and their writer."""

from .handler import log_fields

__all__ = ["log_fields"]
