"""Pages for people: of every resource, and the frame around them. Usable without JavaScript.

Artifacts of projects without such pages lack the modules that are loaded lazily here
(`ship.artifact.unused`).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .account import Links, reset_path
from .layout import Account, Frame, ProblemPages, Render

if TYPE_CHECKING:
    from .account.pages import SIGN_IN, AccountPages
    from .resource import LISTING, ResourcePages

__getattr__ = lazy_exports(
    __name__,
    {"account.pages": ["SIGN_IN", "AccountPages"], "resource": ["LISTING", "ResourcePages"]},
)

__all__ = [
    "Account", "AccountPages", "Frame", "LISTING", "Links", "ProblemPages", "Render",
    "ResourcePages", "SIGN_IN", "reset_path",
]  # fmt: skip
