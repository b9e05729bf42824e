"""The SQL that leads from many rows along one relation: one statement, however many there are."""

from __future__ import annotations

from typing import Any

from ..base import scope
from ..resource import Relation, Resource, quote

MOST = 100  # rows per row that it starts from
_ARRAYS = {"uuid": "uuid[]", "int": "integer[]", "bigint": "bigint[]"}  # else text[]


def statement(relation: Relation, owner: Resource[Any], target: Resource[Any]) -> str:
    """In: forge_keys, the values that lead there (array); forge_limit. Out: the value that led
    there, then the target's columns; the newest first.
    """
    lead = target.key if relation.kind == "belongs_to" else owner.key
    key, array = quote(target.key.name), _ARRAYS.get(lead.type, "text[]")
    where = " and ".join([*scope(target, ""), _leads(relation, target)])
    return f"""select forge_from.forge_key, forge_to.*
from unnest(%(forge_keys)s::{array}) forge_from(forge_key)
cross join lateral (
{target.select}
where {where}
order by {key} desc
limit %(forge_limit)s
) forge_to
order by {key} desc"""


def _leads(relation: Relation, target: Resource[Any]) -> str:
    key = quote(target.key.name)
    if relation.kind == "belongs_to":
        return f"{key} = forge_from.forge_key"
    column = quote(relation.column)
    if relation.kind != "many_to_many":
        return f"{column} = forge_from.forge_key"
    tenant = ' and "tenant_id" = %(forge_tenant)s' if target.tenant_scoped else ""
    # PERF: the keys as an array, so that the planner looks them up in the index; an IN lets it walk
    # through the whole target in order of its keys until it has found enough.
    return f"""{key} = any(array(
  select {quote(relation.target_column)} from {quote(relation.join)}
  where {column} = forge_from.forge_key{tenant}))"""
