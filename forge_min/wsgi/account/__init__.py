"""Signing in and out by email and password, and what somebody may do with their own account."""

from .links import Links, SendReset, reset_path
from .pages import SIGN_IN, TEMPLATES, AccountPages

__all__ = ["SIGN_IN", "TEMPLATES", "AccountPages", "Links", "SendReset", "reset_path"]
