"""Pages for people: of every resource, and the frame around them. Usable without JavaScript."""

from .frame import Account, Frame, Place, ProblemPages, Render
from .resource import LISTING, PAGES, ResourcePages

__all__ = [
    "LISTING", "PAGES", "Account", "Frame", "Place", "ProblemPages", "Render", "ResourcePages",
]  # fmt: skip
