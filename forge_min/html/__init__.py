"""Pages for people: of every resource, and the frame around them. Usable without JavaScript."""

from .account import SIGN_IN, AccountPages, Links, reset_path
from .layout import Account, Frame, ProblemPages, Render
from .resource import LISTING, ResourcePages

__all__ = [
    "Account", "AccountPages", "Frame", "LISTING", "Links", "ProblemPages", "Render",
    "ResourcePages", "SIGN_IN", "reset_path",
]  # fmt: skip
