"""The SQL that leads from many rows along one relation: one statement, however many there are."""

from __future__ import annotations

from typing import Any

from ..base import load_frames, scope
from ..resource import Relation, Resource, quote

MANY = ("has_many", "many_to_many")
MOST = 100  # rows per row that it starts from
_ARRAYS = {"uuid": "uuid[]", "int": "integer[]", "bigint": "bigint[]"}  # else text[]
_SQL = load_frames("forge_min.actions.reading", "related.sql")


def statement(relation: Relation, owner: Resource[Any], target: Resource[Any]) -> str:
    """The statement `rows` of related.sql for this relation of `owner`."""
    from_key = relation.kind != "belongs_to"
    lead = owner.key if from_key else target.key
    names = {"key": quote(target.key.name), "array": _ARRAYS.get(lead.type, "text[]")}
    names["column"] = quote(relation.column) if from_key else names["key"]
    names |= {"other": quote(relation.target_column), "join": quote(relation.join)}
    names["limit"] = str(MOST if relation.kind in MANY else 1)
    names["tenant"] = ' and "tenant_id" = %(forge_tenant)s' if target.tenant_scoped else ""
    way = _SQL["joined" if relation.join else "direct"].substitute(names)
    where = " and ".join([*scope(target, ""), way])
    return _SQL["rows"].substitute(names, select=target.select, where=where)
