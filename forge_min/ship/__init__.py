"""Ship: from a project to one artifact, and to the files that put it into an image."""

from .dockerfile import Deployed, deploy
from .evidence import write_evidence
from .pipeline import Built, build
from .tailwind import stylesheet_state
from .verify import Verified, verify

__all__ = [
    "Built", "Deployed", "Verified", "build", "deploy", "stylesheet_state", "verify",
    "write_evidence",
]  # fmt: skip
