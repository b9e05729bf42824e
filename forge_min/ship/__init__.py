"""Ship: from a project to one artifact, and to the files for an image or a host."""

from .deployment import DeployResult, deploy
from .evidence import write_evidence
from .pipeline import BuildResult, build
from .project import parse_schemas
from .stylesheets import refresh_stylesheet, stylesheet_state
from .vendor.folder import VendorResult, vendor
from .vendor.wheel import copy_source
from .verify import VerifyResult, verify

__all__ = [
    "BuildResult", "DeployResult", "VendorResult", "VerifyResult", "build", "copy_source",
    "deploy", "parse_schemas", "refresh_stylesheet", "stylesheet_state", "vendor", "verify",
    "write_evidence",
]  # fmt: skip
