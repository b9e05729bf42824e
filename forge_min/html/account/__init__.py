"""Pages to sign in and out by email and password, and to manage one's own account."""

from .password_reset import PasswordResetSender, SendReset, reset_path

__all__ = ["PasswordResetSender", "SendReset", "reset_path"]
