"""Ship: from a project to one artifact, and to the files for an image or a host."""

from .deployment import Deployed, deploy
from .pipeline import Built, build
from .tailwind import stylesheet_state

__all__ = ["Built", "Deployed", "build", "deploy", "stylesheet_state"]
