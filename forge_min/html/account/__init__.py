"""Pages to sign in and out by email and password, and to manage one's own account."""

from .links import AccountLinks, SendAccountLinks, reset_path

__all__ = ["AccountLinks", "SendAccountLinks", "reset_path"]
