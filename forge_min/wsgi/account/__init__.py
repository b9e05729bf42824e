"""Signing in and out by email and password, and what somebody may do with their own account."""

from .links import Links, SendReset, reset_path
from .pages import SIGN_IN, AccountPages

__all__ = ["SIGN_IN", "AccountPages", "Links", "SendReset", "reset_path"]
