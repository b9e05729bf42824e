"""Pages to sign in, to manage one's own account, and to administer those of others."""

from .links import AccountLinks, SendAccountLinks, reset_path

__all__ = ["AccountLinks", "SendAccountLinks", "reset_path"]
