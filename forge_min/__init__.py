"""forge_min: resource schemas in, a running application out. This file holds the version only."""

from . import _compat

__version__ = "0.1.0"

_compat.install()
