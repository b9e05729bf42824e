"""Pages to sign in and out by email and password, and to manage one's own account."""

from .pages import SIGN_IN, AccountPages
from .password_reset import PasswordResetSender, SendReset, reset_path

__all__ = ["SIGN_IN", "AccountPages", "PasswordResetSender", "SendReset", "reset_path"]
