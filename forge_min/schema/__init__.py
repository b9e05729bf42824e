"""The schema language that users write: `from forge_min import schema`. Frozen values, no I/O.

Some names are those of builtins on purpose (`schema.int`): import the package, not `*`.
"""

from __future__ import annotations

from . import fields, resource
from .fields import *  # noqa: F403
from .fields import bool_ as bool
from .fields import int_ as int
from .resource import *  # noqa: F403

__all__ = ["bool", "int"]
__all__ += fields.__all__
__all__ += resource.__all__
