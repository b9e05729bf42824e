"""Ship: from a project to one artifact, and to the files for an image or a host."""

from .deployment import Deployed, deploy
from .evidence import write_evidence
from .pipeline import Built, build
from .project import parse_schemas, read_project
from .stylesheets import refresh_stylesheet, stylesheet_state
from .vendor import Vendored, copy_source, vendor
from .verify import Verified, verify

__all__ = [
    "Built", "Deployed", "Vendored", "Verified", "build", "copy_source", "deploy", "parse_schemas",
    "read_project", "refresh_stylesheet", "stylesheet_state", "vendor", "verify", "write_evidence",
]  # fmt: skip
