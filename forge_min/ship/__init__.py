"""Ship: from a project to one artifact, and to the files that put it into an image or onto a host."""

from .deployment import Deployed, deploy
from .pipeline import Built, build
from .tailwind import stylesheet_state

__all__ = ["Built", "Deployed", "build", "deploy", "stylesheet_state"]
