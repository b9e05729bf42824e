"""Signing in and out by email and password, and what somebody may do with their own account."""

from .password_reset import Links, SendReset, reset_path

__all__ = ["Links", "SendReset", "reset_path"]
