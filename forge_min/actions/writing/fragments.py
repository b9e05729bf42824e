"""Fragments of a write: which row is meant, what differs, its join rows, and the rows of forge_
tables that go with it. Each is SQL text of our own names; values are placeholders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ... import db, jobs, notify
from ..base import load_frames
from ..resource import Relation, Resource, quote

ROW, PRIOR, GIVEN = "forge_row", "forge_prior", "forge_given"  # CTEs that several frames have

_FRAMES = load_frames("forge_min.actions.writing", "statements.sql")
# What our types are called in PostgreSQL, where their own names are no types there.
_SQL_TYPES = {"datetime": "timestamptz", "json": "jsonb"}
_SQL_TYPES |= dict.fromkeys(("string", "enum", "slug", "email", "url"), "text")
_UNAUDITED = ("id", "version", "created_at", "updated_at", "deleted_at")
# In the audit and in jobs as in the API's JSON: exact decimals, times in UTC.
_SHOWN = {"decimal": "{}::text", "datetime": "to_json({} at time zone 'UTC') #>> '{{}}' || 'Z'"}


def fill(
    frame: str, resource: Resource[Any], *, also: Iterable[str] = (), **parts: str | Iterable[str]
) -> str:
    """A frame of statements.sql with the resource's own names and `parts`, texts or lists of them,
    put in. also: more CTEs.
    """
    owned = "%(forge_tenant)s" if resource.tenant_scoped else ""
    return _FRAMES[frame].substitute(
        {n: part if isinstance(part, str) else ", ".join(part) for n, part in parts.items()},
        also="".join(f", {part}" for part in also),
        table=quote(resource.table),
        key=quote(resource.key.name),
        tenant=owned or "null",
        tenant_name=owned and ', "tenant_id"',
        tenant_value=owned and f", {owned}::uuid",
        tenant_t=owned and f' and forge_t."tenant_id" = {owned}',
        tenant_x=owned and f' and forge_x."tenant_id" = {owned}',
    )


def columns(resource: Resource[Any], source: str) -> str:
    """The resource's columns, each qualified by `source`."""
    return ", ".join(f"{source}.{quote(c.name)}" for c in resource.columns)


def sql_type(resource: Resource[Any], name: str) -> str:
    """The type that a value of the column, or a key in a many_to_many field, is cast to."""
    column = next((c for c in resource.columns if c.name == name), None)
    kind = (column or links(resource)[name]).type
    return _SQL_TYPES.get(kind, kind)


def differs(names: Iterable[str], before: str, after: str) -> str:
    """Whether one of the columns differs between two sources."""
    found = [f"{before}.{quote(n)} is distinct from {after}.{quote(n)}" for n in names]
    return " or ".join(found) or "false"


def differing(names: Sequence[str], before: str, after: str) -> str:
    """The names of the columns that differ, as text[]."""
    found = (f"case when {differs([n], before, after)} then '{n}' end" for n in names)
    return f"array_remove(array[{', '.join(found)}], null)" if names else "'{}'::text[]"


# -- many_to_many ----------------------------------------------------------------------------------


def links(resource: Resource[Any]) -> dict[str, Relation]:
    """The many_to_many relations by the JSON field that holds the targets' keys."""
    return {r.field: r for r in resource.relations if r.field}


def join(frame: str, resource: Resource[Any], fields: Iterable[str]) -> list[str]:
    """What writes many_to_many fields, a text for each: the CTEs "link" of new rows or "relink" of
    one that is there. Or an array of keys named as the field: "targets" of the row forge_t, or
    those that are "given".
    """
    return [
        fill(
            frame,
            resource,
            n=str(n),
            name=field,
            field=quote(field),
            type=sql_type(resource, field),
            key_type=sql_type(resource, resource.key.name),
            join=quote(link.join),
            column=quote(link.column),
            target_column=quote(link.target_column),
        )
        for n, (field, link) in enumerate((f, links(resource)[f]) for f in fields)
    ]


# -- what goes with the row ------------------------------------------------------------------------


def hooks(resource: Resource[Any], operation: str) -> tuple[jobs.JobHook, ...]:
    """The jobs that an operation enqueues; a restore counts as an update."""
    found = {"create": resource.after_create, "delete": resource.after_delete}
    return found.get(operation, resource.after_update)


def told(resource: Resource[Any], source: str, joined: Mapping[str, str]) -> dict[str, str]:
    """What the audit and jobs tell of a row of `source`: name → SQL. joined: many_to_many field →
    the source that has its keys; no keys are told as null.
    """
    columns = {c.name: (c.type, f"{source}.{quote(c.name)}") for c in resource.columns}
    found = {name: _SHOWN.get(kind, "{}").format(sql) for name, (kind, sql) in columns.items()}
    return found | {f: f"nullif({has}.{quote(f)}, '{{}}')" for f, has in joined.items()}


def before(resource: Resource[Any], operation: str, joined: Mapping[str, str]) -> str:
    """The same of the row as it was, as one jsonb value for the jobs; null when there are none."""
    if not hooks(resource, operation):
        return "null::jsonb"
    shown = (f"{sql} as {quote(name)}" for name, sql in told(resource, PRIOR, joined).items())
    return f"(select to_jsonb(forge_j) from (select {', '.join(shown)}) forge_j)"


def _changes(
    resource: Resource[Any], operation: str, source: str, joined: Mapping[str, str]
) -> str:
    """The texts `"name": [before, after]` of the fields that differ, joined, for the audit."""
    old = told(resource, PRIOR, dict.fromkeys(joined, PRIOR))
    found = []
    for name, new in told(resource, source, joined).items():
        before, after = f"to_json({old[name]})", f"to_json({new})"
        if name in _UNAUDITED:
            continue
        if operation in ("create", "restore"):
            found.append(f"""'"{name}": [null, ' || {after} || ']'""")
        elif operation == "delete":
            found.append(f"""'"{name}": [' || {before} || ', null]'""")
        else:
            both = f"coalesce({before}::text, 'null') || ', ' || coalesce({after}::text, 'null')"
            differs = f"{old[name]} is distinct from {new}"
            found.append(f"""case when {differs} then '"{name}": [' || {both} || ']' end""")
    while len(found) > 90:  # a function takes a hundred arguments (PostgreSQL manual, appendix K)
        parts = (", ".join(found[at : at + 90]) for at in range(0, len(found), 90))
        found = [f"nullif(concat_ws(', ', {part}), '')" for part in parts]
    return f"concat_ws(', ', {', '.join(found) or 'null'})"


def effects(
    resource: Resource[Any],
    operation: str,
    joined: Mapping[str, str],
    *,
    source: str = ROW,
    others: str = "",
) -> list[str]:
    """The event, the jobs and the audit of each row in the CTE `source`, as CTEs.

    joined: as of `told`. others: what that reads beside `source`. But for a create, `source` has
    forge_before, the state before; and forge_names in an update, what the event tells.
    """
    key, tenant = resource.key.name, "forge_tenant" if resource.tenant_scoped else None
    event = notify.event_fragment(
        source,
        resource.topic,
        f"{resource.event}.{operation}d",
        changed_sql="forge_names" if operation == "update" else "null::text[]",
        key=key,
        tenant_param=tenant,
    )
    parts = [f"forge_event_{operation} as (\n{event}\n)"]
    unique: set[str] = set()
    for n, hook in enumerate(hooks(resource, operation)):
        if hook.unique and hook.kind in unique:
            continue  # it counts as the same, and a statement cannot lock a job that it inserts
        if hook.unique:
            unique.add(hook.kind)
        job = jobs.job_fragment(
            source,
            hook,
            resource.name,
            operation,
            metadata_param="forge_metadata",
            before=None if operation == "create" else "forge_before",
            key=key,
            tenant_param=tenant,
        )
        parts.append(f"forge_job_{operation}_{n} as (\n{job}\n)")
    if resource.auditable:
        names = {"operation": operation, "source": source, "others": others}
        names["topic"] = db.literal(resource.topic)
        fields = _changes(resource, operation, source, joined)
        parts.append(fill("audit", resource, fields=fields, **names))
    return parts
