"""Which constraint of a table speaks of which field: the map that turns a PostgreSQL error into a
field's.
"""

from __future__ import annotations

from ..parse.ir import FieldIR, RelationIR, ResourceIR
from ..parse.names import constraint_name

RULES = ("min", "max", "min_len", "max_len")


def constraints_of(resource: ResourceIR) -> dict[str, str]:
    """Constraint name → field, for every constraint that a migration of this resource makes."""
    return {
        constraint_name(resource.table, member.column, kind): member.column
        for member in resource.members
        for kind in _kinds(member)
    }


def _kinds(member: FieldIR | RelationIR) -> list[str]:
    if isinstance(member, RelationIR):
        return ["fkey"]
    kinds = ["key"] if member.unique else []
    if member.choices:
        kinds.append("check")
    return kinds + [rule for rule in RULES if getattr(member, rule) is not None]
