"""Related rows: their statement, and conditions of a list on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..base import load_frames, scope
from ..query import ListQuery, Target, filterable, read_filter
from ..resource import AnyResource, Relation, quote
from ..statement import sql_type

MANY = ("has_many", "many_to_many")
MOST_RELATED = 100  # related rows of one row
_RELATED = load_frames("related.sql")


def related_statement(relation: Relation, owner: AnyResource, target: AnyResource) -> str:
    """Return the statement `rows` of related.sql for a relation of `owner`."""
    key = quote(target.key.name)
    if relation.kind == "belongs_to":
        linked = target
        column = key
    else:
        linked = owner
        column = quote(relation.column)
    names = {
        "key": key,
        "type": sql_type(linked, linked.key.name),
        "column": column,
        "other": quote(relation.target_column),
        "join": quote(relation.join),
        "limit": MOST_RELATED if relation.kind in MANY else 1,
        "tenant": "",
    }
    if target.tenant_scoped:
        names["tenant"] = ' and "tenant_id" = %(forge_tenant)s'
    frame = "joined" if relation.join else "direct"
    condition = _RELATED[frame].substitute(names)
    where = " and ".join([*scope(target, ""), condition])
    return _RELATED["rows"].substitute(names, select=target.select, where=where)


def with_related_filters(
    query: ListQuery, owner: AnyResource, targets: Mapping[str, Target]
) -> ListQuery:
    """Return the query with its conditions on related rows as filters.

    targets: the relations to at most one row of which the identity may see the key and read the
        target, by name.

    Raises BadRequest as `ListQuery.parse`: any other name is unknown here.
    """
    columns = filterable(owner)
    for name, (_, target) in targets.items():
        for column_name, column in filterable(target).items():
            columns[f"{name}.{column_name}"] = column
    filters = list(query.filters)
    for key, value, read in query.related:
        condition = read_filter(columns, key, value, read)
        related = targets[key.partition(".")[0]]
        frame = _frame(owner, *related)
        filters.append(condition._replace(frame=frame, related=related))
    return replace(query, filters=tuple(filters), related=())


def _frame(owner: AnyResource, relation: Relation, target: AnyResource) -> str:
    """SQL around the condition on the related row: such a row exists in the target's scope."""
    if relation.kind == "belongs_to":
        column = quote(relation.column)
        target_column = quote(target.key.name)
    else:
        column = quote(owner.key.name)
        target_column = quote(relation.column)
    where = " and ".join([*scope(target, ""), "{}"])
    return f"{column} in (select {target_column} from {target.quoted_source} where {where})"
