"""Ship: from a project to one artifact, and to the files that put it into an image."""

from .dockerfile import Deployed, deploy
from .pipeline import Built, build
from .proof import Verified, verify, write_evidence
from .tailwind import stylesheet_state

__all__ = [
    "Built", "Deployed", "Verified", "build", "deploy", "stylesheet_state", "verify",
    "write_evidence",
]  # fmt: skip
