"""Ship: from a project to one artifact, and to the files for an image or a host."""

from .deployment import Deployed, deploy
from .pipeline import Built, build
from .proof import Verified, verify, write_evidence
from .tailwind import stylesheet_state
from .vendor import Vendored, copy_source, vendor

__all__ = [
    "Built", "Deployed", "Vendored", "Verified", "build", "copy_source", "deploy",
    "stylesheet_state", "vendor", "verify", "write_evidence",
]  # fmt: skip
