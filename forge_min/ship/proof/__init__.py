"""Proof: whether an artifact is as it was built, whether a second build gives it, and a report."""

from .evidence import write_evidence
from .rebuild import compare
from .verify import Verified, read_current, verify

__all__ = ["Verified", "compare", "read_current", "verify", "write_evidence"]
