"""Which constraint of a table speaks of which field: the map that turns a PostgreSQL error into a
field's.
"""

from __future__ import annotations

from ..parse.ir import FieldIR, ResourceIR
from ..parse.names import constraint_name


def constraints_of(resource: ResourceIR) -> dict[str, str]:
    """Constraint name → field, for every constraint that a migration of this resource makes."""
    found: dict[str, str] = {}
    for member in resource.members:
        column = member.column
        if not isinstance(member, FieldIR):
            found[constraint_name(resource.table, column, "fkey")] = column
            continue
        if member.unique:
            found[constraint_name(resource.table, column, "key")] = column
        found[constraint_name(resource.table, column, "check")] = column
    return found
