"""The ONE statement of a write: row, event and jobs as CTEs of each other, so they commit or vanish
together.

The resource's SQL comes from gen/, the statements on forge_ tables from notify and jobs; this file
only puts them side by side. A pipeline of BEGIN, four statements and COMMIT costs three times as
much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import jobs, notify
from ..resource import JobHook, Resource, quote

# Aliases begin with forge_, which no column does: a whole-row reference to `t` would otherwise mean
# a column of that name.


def columns(resource: Resource[Any], source: str) -> str:
    """The resource's columns, each qualified by `source`."""
    return ", ".join(f"{source}.{quote(c.name)}" for c in resource.columns)


def create(resource: Resource[Any]) -> str:
    """One row in, the row as stored out."""
    effects = _effects(resource.after_create, changed="null::text[]", before=None)
    return (
        f"with row as (\n{resource.insert}\n){effects}\nselect {columns(resource, 'row')} from row"
    )


def create_many(resource: Resource[Any]) -> str:
    """Arrays of columns in, the number of rows out."""
    effects = _effects(resource.after_create, changed="null::text[]", before=None)
    return f"with row as (\n{resource.insert_many}\n){effects}\nselect count(*) from row"


def update(resource: Resource[Any], changed: Sequence[str], versioned: bool) -> str:
    """Out: (written, *columns): the new row, or the old one when nothing differed or the version
    was stale.
    """
    table = quote(resource.table)
    names = [quote(c) for c in changed]
    sets = [f"{quote(c)} = %({c})s" for c in changed]
    sets.append('"version" = forge_t."version" + 1')
    if resource.timestamps:
        sets.append('"updated_at" = now()')
    differs = " or ".join(
        f"forge_prior.{quote(c)} is distinct from forge_given.{quote(c)}" for c in changed
    )
    names_changed = ", ".join(
        f"case when forge_prior.{q} is distinct from forge_t.{q} then '{c}' end"
        for q, c in zip(names, changed)
    )
    fresh = ' and forge_prior."version" = %(forge_version)s' if versioned else ""
    new = ", ".join(f"{_cast(resource, c)} as {quote(c)}" for c in changed)
    effects = _effects(resource.after_update, changed="forge_changed", before="forge_before")
    return f"""with forge_prior as (
select {columns(resource, "forge_t")} from {table} forge_t where forge_t."id" = %(id)s for update
), forge_given as (
select {new}
), row as (
update {table} forge_t set {", ".join(sets)}
from forge_prior, forge_given
where forge_t."id" = forge_prior."id"{fresh} and ({differs})
returning forge_t.*, to_jsonb(forge_prior) as forge_before,
  array_remove(array[{names_changed}], null) as forge_changed
){effects}
select true, {columns(resource, "row")} from row
union all
select false, {columns(resource, "forge_prior")} from forge_prior
where not exists (select 1 from row)"""


def delete(resource: Resource[Any], versioned: bool) -> str:
    """Out: (deleted, version as the statement began or NULL when there was no such row)."""
    table = quote(resource.table)
    fresh = ' and forge_t."version" = %(forge_version)s' if versioned else ""
    effects = _effects(resource.after_delete, changed="null::text[]", before="forge_before")
    return f"""with row as (
delete from {table} forge_t where forge_t."id" = %(id)s{fresh}
returning forge_t.*, to_jsonb(forge_t) as forge_before
){effects}
select exists (select 1 from row), (select "version" from {table} where "id" = %(id)s)"""


def _effects(hooks: Sequence[JobHook], *, changed: str, before: str | None) -> str:
    event = notify.event_fragment(
        "row", topic_param="forge_topic", kind_param="forge_kind", changed_sql=changed
    )
    parts = [f"event as (\n{event}\n)"]
    for n, _ in enumerate(hooks):
        parts.append(
            f"job_{n} as (\n{jobs.job_fragment('row', f'forge_job_{n}_', before=before)}\n)"
        )
    return ", " + ", ".join(parts)


def _cast(resource: Resource[Any], name: str) -> str:
    column = resource.column(name)
    assert column is not None
    return f"%({name})s::{SQL_TYPES[column.type]}"


# Element types for placeholders whose type PostgreSQL could not infer from their place.
SQL_TYPES = {
    "string": "text",
    "text": "text",
    "enum": "text",
    "int": "integer",
    "bigint": "bigint",
    "decimal": "numeric",
    "bool": "boolean",
    "datetime": "timestamptz",
    "date": "date",
    "uuid": "uuid",
}
