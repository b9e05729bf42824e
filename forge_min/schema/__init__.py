"""The schema language that users write: `from forge_min import schema`. Frozen values, no I/O.

Some names are those of builtins on purpose (`schema.int`): import the package, not `*`.
"""

from __future__ import annotations

from .fields import Field, FieldType, date, datetime, decimal, enum, string, text, uuid
from .fields import bool_ as bool
from .fields import int_ as int
from .resource import (
    BelongsTo,
    Hooks,
    JobRef,
    OnDelete,
    Part,
    Resource,
    Timestamps,
    WithHooks,
    belongs_to,
    define,
    timestamps,
    with_hooks,
)

__all__ = [
    "BelongsTo",
    "Field",
    "FieldType",
    "Hooks",
    "JobRef",
    "OnDelete",
    "Part",
    "Resource",
    "Timestamps",
    "WithHooks",
    "belongs_to",
    "bool",
    "date",
    "datetime",
    "decimal",
    "define",
    "enum",
    "int",
    "string",
    "text",
    "timestamps",
    "uuid",
    "with_hooks",
]
