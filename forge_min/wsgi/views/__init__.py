"""Pages for people: of every resource, and the frame around them. Usable without JavaScript."""

from .frame import Account, Frame, ProblemPages, Render
from .resource import LISTING, ResourcePages

__all__ = [
    "LISTING", "Account", "Frame", "ProblemPages", "Render", "ResourcePages",
]  # fmt: skip
