"""HTML pages of every resource, account pages, and their layout; usable without JavaScript.

Artifacts of projects without such pages lack the modules that are loaded lazily here
(`ship.artifact.unused`).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .account import PasswordResetSender, reset_path
from .layout import Account, Layout, ProblemPages, Render

if TYPE_CHECKING:
    from .account.pages import SIGN_IN, AccountPages
    from .resource import LISTING, ResourcePages

__getattr__ = lazy_exports(
    __name__,
    {"account.pages": ["SIGN_IN", "AccountPages"], "resource": ["LISTING", "ResourcePages"]},
)

__all__ = [
    "Account", "AccountPages", "LISTING", "Layout", "PasswordResetSender", "ProblemPages", "Render",
    "ResourcePages", "SIGN_IN", "reset_path",
]  # fmt: skip
