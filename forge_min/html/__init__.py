"""HTML pages of every resource, account pages, and their layout; usable without JavaScript."""

from .account import SIGN_IN, AccountPages, PasswordResetSender, reset_path
from .layout import Account, Layout, ProblemPages, Render
from .resource import LISTING, ResourcePages

__all__ = [
    "Account", "AccountPages", "LISTING", "Layout", "PasswordResetSender", "ProblemPages", "Render",
    "ResourcePages", "SIGN_IN", "reset_path",
]  # fmt: skip
