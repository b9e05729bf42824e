"""What can be wrong with one value of the schema language, seen by itself.

Plain functions on values, each giving the option and its problem. Places are none of their affair.
"""

from __future__ import annotations

import difflib

from .. import schema
from . import names
from .diagnostic import quote
from .fields import Problems, field_problems, out_of_range, role_problems, roles_problem
from .names import Problem

_JOB_LIMITS = {"priority": (1, 4), "max_attempts": (1, 32767), "delay": (0, 10 * 366 * 86400)}
_OPERATIONS = ("read", "create", "update", "delete", "restore")
_COVERED = dict.fromkeys(("list", "get", "audit", "export", "events", "include"), "read") | {
    "post": "create",
    "patch": "update",
    "put": "update",
}


def problems(value: object) -> Problems:
    """(option, its problem or None) of a part, a job or a resource; parts of it are left out."""
    if isinstance(value, schema.Field):
        yield from field_problems(value)
    elif isinstance(value, schema.BelongsTo | schema.Many):
        yield from _relation(value)
    elif isinstance(value, schema.Permission):
        yield "operation", _operation(value.operation)
        yield "roles", roles_problem("the permission", value.roles)
    elif isinstance(value, schema.JobRef):
        yield "kind", names.kind_problem(value.kind)
        yield "queue", names.label_problem(value.queue, "F132", "the queue name")
        yield from out_of_range(value, _JOB_LIMITS, "F132")
    elif isinstance(value, schema.Resource):
        bad = names.resource_problem(value.name)
        yield "name", bad
        if value.plural is not None or not bad:
            place = "name" if value.plural is None else "plural"
            yield place, names.table_problem(names.table_of(value))


def _relation(relation: schema.BelongsTo | schema.Many) -> Problems:
    bad = names.resource_problem(relation.target)
    yield "target", bad
    if relation.name is not None or not bad:
        name = names.name_of(relation)
        suffix = "_id" if isinstance(relation, schema.BelongsTo) else ""
        yield "name", names.field_problem(name, suffix) or names.field_problem(name)
    if isinstance(relation, schema.BelongsTo):
        yield from role_problems(relation)
        if relation.required and relation.on_delete == "set_null":
            message = "a required relation cannot be set to null"
            yield "on_delete", Problem("F141", message, 'use "restrict" or "cascade"')
    elif relation.table is not None:
        yield "table", names.word_problem(relation.table, "the table name")


def _operation(operation: str) -> Problem | None:
    """A verb may have any name but one that somebody would take for a protected operation."""
    near = difflib.get_close_matches(operation[:100], _OPERATIONS, n=1, cutoff=0.8)
    meant = _COVERED.get(operation) or (near[0] if near else operation)
    if meant != operation:
        message = f"there is no operation {quote(operation)}"
        return Problem("F152", message, f'did you mean "{meant}"?')
    return names.word_problem(operation, "the operation")
