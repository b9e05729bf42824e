"""The schema language for users: `from forge_min import schema`. Frozen values, no I/O.

Some names are those of builtins (`schema.int`): import the package, not `*`.
"""

from . import language, parts
from .language import *  # noqa: F403
from .language import bool_ as bool
from .language import float_ as float
from .language import int_ as int
from .parts import *  # noqa: F403

__all__ = ["bool", "float", "int"]
__all__ += [*language.__all__, *parts.__all__]
