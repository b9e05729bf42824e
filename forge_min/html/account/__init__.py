"""Signing in and out by email and password, and what somebody may do with their own account."""

from .pages import SIGN_IN, AccountPages
from .password_reset import Links, SendReset, reset_path

__all__ = ["SIGN_IN", "AccountPages", "Links", "SendReset", "reset_path"]
