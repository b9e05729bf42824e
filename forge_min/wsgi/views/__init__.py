"""Pages for people: of every resource, and the frame around them. Usable without JavaScript."""

from .frame import Account, Frame, Place, ProblemPages, Render
from .resource import PAGES, ResourcePages

__all__ = ["PAGES", "Account", "Frame", "Place", "ProblemPages", "Render", "ResourcePages"]
