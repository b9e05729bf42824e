"""The single statement of a write: one CTE each for row, join rows, audit, event and jobs.

So they are committed or rolled back together. The resource's SQL comes from gen/, the statements on
forge_ tables from notify and jobs; this module composes them with the frames of statements.sql.
Values are placeholders. A pipeline of BEGIN, four statements and COMMIT costs three times as much.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import db, jobs, notify
from .base import load_frames, scope, this_row
from .resource import Column, Relation, Resource, quote

Names = Sequence[str]
VERSION = '"version" = forge_t."version" + 1'
ROW, PRIOR, GIVEN = "forge_row", "forge_prior", "forge_given"  # CTEs of several frames

_FRAMES = load_frames("statements.sql")
# Types that have another name in PostgreSQL.
_SQL_TYPES = {"datetime": "timestamptz", "json": "jsonb"}
_SQL_TYPES |= dict.fromkeys(("string", "enum", "slug", "email", "url"), "text")
_SQL_TYPES |= {"duration": "interval", "string[]": "text[]", "enum[]": "text[]"}
_UNAUDITED = ("id", "version", "created_at", "updated_at", "deleted_at")
# Values in the audit and in jobs are those of the API's JSON: exact decimals, times in UTC.
_SHOWN = {"decimal": "{}::text", "datetime": "to_json({} at time zone 'UTC') #>> '{{}}' || 'Z'"}
_SHOWN["duration"] = _FRAMES["duration"].template.strip()


def create(resource: Resource[Any], fields: Names = (), many: bool = False) -> str:
    """Insert a row and return it as stored.

    fields: the many_to_many fields that have keys, the n-th as %(forge_owners_n)s and
        %(forge_ids_n)s.
    many: the parameters are arrays of columns, the result is the number of rows or, for a resource
        with a rule, the rows.
    """
    joined = {field: f"forge_link_{n}" for n, field in enumerate(fields)}
    owner = f"forge_owner = {ROW}.{quote(resource.key.name)}"
    others = "".join(f" left join {link} on {link}.{owner}" for link in joined.values())
    effects = _effects(resource, "create", joined, others=others)
    return _fill(
        "create",
        resource,
        insert=resource.insert_many if many else resource.insert,
        result="count(*)" if many and not resource.has_rule else _columns(resource, ROW),
        also=_join("link", resource, fields) + effects,
    )


def update(
    resource: Resource[Any], changed: Names, frozen: Names, fields: Names, merged: Names = ()
) -> str:
    """Update a row if one of `changed` or `fields` differs and none of `frozen` does.

    changed, frozen: columns, a placeholder for each.
    fields: many_to_many fields.
    merged: those of `fields` of which only the difference from %(forge_seen_<field>)s is written.

    The result is that of `_change`.
    """
    given = [f"{_cast(resource, name)} as {quote(name)}" for name in (*changed, *frozen)]
    given += _join("given", resource, [name for name in fields if name not in merged])
    given += _join("merged", resource, merged)
    return _change(
        resource,
        "update",
        fields,
        _prevents(resource, changed, frozen, PRIOR, GIVEN),
        sets=[f"{quote(name)} = %({name})s" for name in changed] + _stamps(resource),
        given=given,
        when=_differs([*changed, *fields], PRIOR, GIVEN),
        names=_shown_changes(resource, [*changed, *fields], GIVEN),
    )


def delete(resource: Resource[Any]) -> str:
    """Delete a row, or mark it as deleted with soft_delete. The result is that of `_change`."""
    sets = ['"deleted_at" = now()', VERSION] if resource.soft_delete else []
    return _change(resource, "delete", _audited(resource), sets=sets)


def cascade_effects(resource: Resource[Any]) -> str:
    """Write the event, jobs and audit of a row that a cascade deletes.

    The result is that of `delete`.
    """
    same = ['"version" = forge_t."version"']
    return _change(resource, "delete", _audited(resource), sets=same)


def restore(resource: Resource[Any]) -> str:
    """Remove the mark of a deleted row; a row without it is not written.

    The result is that of `_change`.
    """
    fields, sets = _audited(resource), ['"deleted_at" = null', VERSION]
    return _change(resource, "restore", fields, sets=sets, when=_marked(PRIOR))


def transition(resource: Resource[Any], name: str) -> str:
    """Set the state of a row to the next one, if its state has one and the user is not excluded.

    The reason is %(forge_reason)s. The result is that of `_change`.
    """
    change = resource.transition(name)
    column = quote(change.column)
    steps = db.literal(json.dumps(change.steps))
    following = f"({steps}::jsonb ->> {PRIOR}.{column})"
    when = f"{following} is not null"
    if change.not_by:
        when += f" and '{name}' not in ({_excluded(resource)})"
    return _change(
        resource,
        "update",
        (),
        sets=[f"{column} = {following}", *_stamps(resource)],
        when=when,
        names=f"array['{change.column}']",
        reason=True,
    )


def excluded(resource: Resource[Any]) -> str:
    """Select the transitions of a row from which the user %(forge_actor)s is excluded."""
    prior = f"select * from {quote(resource.table)} where {this_row(resource)}"
    return f"with {PRIOR} as ({prior}) {_excluded(resource)}"


def _excluded(resource: Resource[Any]) -> str:
    transitions = db.literal(json.dumps([each._asdict() for each in resource.transitions]))
    return _fill("excluded", resource, topic=f"'{resource.topic}'", transitions=transitions)


def upsert(resource: Resource[Any], names: Names, changed: Names, frozen: Names, on: Column) -> str:
    """Insert rows, or update those with the same value in the unique column `on`.

    names: the columns of a new row, a placeholder with an array for each.
    changed: the columns that an update writes if they differ.
    frozen: the columns that must not differ.

    The result has for each row: created, updated, unchanged, missed (another transaction inserted
    it meanwhile, so it must be sent again), deleted or immutable; and the columns that prevent the
    write. For a resource with a rule, the columns of the new and of the old row follow.
    """
    is_key = on is resource.key
    column, marks = quote(on.name), resource.soft_delete and is_key
    both = f", {_columns(resource, ROW)}, {_columns(resource, PRIOR)}"
    prior = f" join {PRIOR} on {PRIOR}.{column} = forge_changed.{column}"
    wanted = f"forge_t.{column} = any({_cast(resource, on.name, '[]')})"
    return _fill(
        "upsert",
        resource,
        on=column,
        on_name=f"'{on.name}'",
        names=[quote(name) for name in names],
        given=[f"{quote(n)}::{sql_type(resource, n)} as {quote(n)}" for n in names],
        arrays=[_cast(resource, name, "[]") for name in names],
        columns=_columns(resource, "forge_t"),
        found=" and ".join([wanted, *scope(resource, "forge_t", live=not is_key)]),
        target=['"tenant_id"'] * resource.tenant_scoped + [column],
        live=' where "deleted_at" is null' if resource.soft_delete and not is_key else "",
        sets=[f"{quote(name)} = excluded.{quote(name)}" for name in changed] + _stamps(resource),
        differs=_differs(changed, "forge_t", "excluded"),
        locked=_prevents(resource, changed, frozen, "forge_t", "excluded"),
        deleted=_marked("forge_t") if marks else "false",
        before=_before(resource, "update", {}),
        changed=_shown_changes(resource, changed, ROW),
        was_deleted=_marked(PRIOR) if marks else "false",
        frozen=_prevents(resource, changed, frozen, PRIOR, GIVEN),
        author_name=', "created_by"' if resource.authored else "",
        author_value=", nullif(%(forge_actor)s::text, '')" if resource.authored else "",
        both=both if resource.has_rule else "",
        also=_effects(resource, "create", {}, source="forge_made")
        + _effects(resource, "update", {}, source="forge_changed", others=prior),
    )


def _change(
    resource: Resource[Any],
    operation: str,
    fields: Names,
    frozen: str = "'{}'::text[]",
    *,
    sets: Names,
    given: Names = (),
    when: str = "true",
    names: str = "null",
    reason: bool = False,
) -> str:
    """Change one row if `when` is true; without `sets` delete it.

    fields: the many_to_many fields that an update writes, or that the audit shows.
    frozen: SQL of the names of the columns that prevent the change.
    sets: SQL of the assignments.
    given: SQL of the new values.
    names: SQL of the names of changed columns.
    reason: the audit entry has %(forge_reason)s.

    The result is (again, stale, names of columns that prevent the change, *columns). The columns
    are those of the new row, or of the old one if nothing was written. again: null if the row was
    written; true if it changed while the statement waited for the lock, so it must be sent
    again; false if it was not written for another reason. stale: the version is not
    %(forge_version)s. For a resource with a rule, the columns of the old row follow.
    """
    table, live, is_update = quote(resource.table), operation != "restore", operation == "update"
    change = f"update {table} forge_t set {', '.join(sets)}\nfrom"
    again = _fill("again", resource, found=this_row(resource, "forge_s", live=False))
    joined = dict.fromkeys(fields, GIVEN if is_update else PRIOR)
    joins = _join("relink", resource, fields) if is_update else []
    prior = _columns(resource, PRIOR)
    others = f", {PRIOR}, {GIVEN}"
    effects = _effects(resource, operation, joined, others=others, reason=reason)
    return _fill(
        "change",
        resource,
        prior=[_columns(resource, "forge_t"), *_join("targets", resource, fields)],
        # A delete needs this lock anyway. To get it later could be a deadlock with a rule.
        lock="no key update" if sets else "update",
        found=this_row(resource, "forge_t", live=live),
        given=given or ["0 as forge_none"],
        write=change if sets else f"delete from {table} forge_t\nusing",
        differs=when,
        # A transition may depend on the history, which comes from the snapshot, too.
        again=again if fields or reason else "false",
        before=_before(resource, operation, dict.fromkeys(fields, PRIOR)),
        changed=names,
        also=joins + effects,
        frozen=frozen,
        written=[_columns(resource, ROW), *[prior] * resource.has_rule],
        source=f"{ROW}, {PRIOR}" if resource.has_rule else ROW,
        unwritten=[prior, *[prior] * resource.has_rule],
    )


def _stamps(resource: Resource[Any]) -> list[str]:
    """The assignments of every update."""
    return [VERSION, *['"updated_at" = now()'] * resource.timestamps]


def _marked(source: str) -> str:
    return f'{source}."deleted_at" is not null'


def _cast(resource: Resource[Any], name: str, array: str = "") -> str:
    """SQL of a parameter. array: "[]" for a value of each row; a list is then its text."""
    type = sql_type(resource, name)
    return f"%({name})s::{'text' if array and type.endswith('[]') else type}{array}"


def _audited(resource: Resource[Any]) -> Names:
    """The many_to_many fields: the audit of a whole row shows their keys."""
    return tuple(links(resource)) if resource.auditable else ()


def _shown_changes(resource: Resource[Any], names: Names, after: str) -> str:
    """The names that differ, without restricted columns: an event goes to all clients."""
    hidden = {column.name for column in resource.columns if column.visible_to}
    return _differing([name for name in names if name not in hidden], PRIOR, after)


# -- the parts of these statements -----------------------------------------------------------------


def _fill(
    frame: str, resource: Resource[Any], *, also: Iterable[str] = (), **parts: str | Iterable[str]
) -> str:
    """A frame of statements.sql, filled with the resource's names and `parts`.

    also: more CTEs.
    parts: by the name in the frame; the items of a list are joined by commas.
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


def _columns(resource: Resource[Any], source: str) -> str:
    """The resource's columns, each qualified by `source`."""
    return ", ".join(f"{source}.{quote(c.name)}" for c in resource.columns)


def sql_type(resource: Resource[Any], name: str) -> str:
    """Return the SQL type of a column, or of the keys in a many_to_many field."""
    column = resource.by_name.get(name)
    kind = (column or links(resource)[name]).type
    return _SQL_TYPES.get(kind, kind)


def _differs(names: Iterable[str], before: str, after: str) -> str:
    """SQL of whether one of the columns differs between two sources."""
    conditions = [f"{before}.{quote(n)} is distinct from {after}.{quote(n)}" for n in names]
    return " or ".join(conditions) or "false"


def _differing(names: Sequence[str], before: str, after: str) -> str:
    """SQL of the names of the columns that differ, as text[]."""
    cases = (f"case when {_differs([n], before, after)} then '{n}' end" for n in names)
    return f"array_remove(array[{', '.join(cases)}], null)" if names else "'{}'::text[]"


def _prevents(
    resource: Resource[Any], changed: Names, frozen: Names, before: str, after: str
) -> str:
    """SQL of the names of the columns that prevent a write, as text[].

    They are frozen columns that differ, and changed ones that are locked in the row's state.
    """
    names = _differing(frozen, before, after)
    if not resource.locked:
        return names
    parts = {"differing": _differing(changed, before, after), "source": before}
    locked = _fill("locked", resource, states=db.literal(json.dumps(resource.locked)), **parts)
    return f"{names} || {locked}"


def links(resource: Resource[Any]) -> dict[str, Relation]:
    """Return the many_to_many relations by the JSON field with the keys of their targets."""
    return {r.field: r for r in resource.relations if r.field}


def _join(frame: str, resource: Resource[Any], fields: Iterable[str]) -> list[str]:
    """The frame of statements.sql for each of these many_to_many fields.

    frame: "link" or "relink" are CTEs that write the keys of new rows or of an existing one. The
        others are arrays of keys, named as the field: "targets" are those of the row forge_t,
        "given" and "merged" the new ones.
    """
    return [
        _fill(
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


def _values(resource: Resource[Any], source: str, joined: Mapping[str, str]) -> dict[str, str]:
    """SQL of the values of a row for the audit and jobs, by name.

    source: of the row.
    joined: many_to_many field → the source with its keys; an empty list becomes null.
    """
    columns = {c.name: (c.type, f"{source}.{quote(c.name)}") for c in resource.columns}
    values = {name: _SHOWN.get(kind, "{}").format(sql) for name, (kind, sql) in columns.items()}
    return values | {f: f"nullif({has}.{quote(f)}, '{{}}')" for f, has in joined.items()}


def _before(resource: Resource[Any], operation: str, joined: Mapping[str, str]) -> str:
    """SQL of the row before the change, as one jsonb for the jobs; null without jobs.

    It has no personal fields: operators see the arguments of jobs, and each job keeps a copy.
    """
    if not resource.hooks_of(operation):
        return "null::jsonb"
    values = _values(resource, PRIOR, joined)
    for column in resource.columns:
        if column.personal:
            del values[column.name]
    shown = (f"{sql} as {quote(name)}" for name, sql in values.items())
    return f"(select to_jsonb(forge_j) from (select {', '.join(shown)}) forge_j)"


def _changes(
    resource: Resource[Any], operation: str, source: str, joined: Mapping[str, str]
) -> str:
    """SQL of the changed fields for the audit: `"name": [before, after]`, joined by commas."""
    old = _values(resource, PRIOR, dict.fromkeys(joined, PRIOR))
    texts = []
    for name, new in _values(resource, source, joined).items():
        before, after = f"to_json({old[name]})", f"to_json({new})"
        if name in _UNAUDITED:
            continue
        if operation in ("create", "restore"):
            texts.append(f"""'"{name}": [null, ' || {after} || ']'""")
        elif operation == "delete":
            texts.append(f"""'"{name}": [' || {before} || ', null]'""")
        else:
            both = f"coalesce({before}::text, 'null') || ', ' || coalesce({after}::text, 'null')"
            changed = f"{old[name]} is distinct from {new}"
            texts.append(f"""case when {changed} then '"{name}": [' || {both} || ']' end""")
    while len(texts) > 90:  # a function takes a hundred arguments (PostgreSQL manual, appendix K)
        parts = (", ".join(texts[at : at + 90]) for at in range(0, len(texts), 90))
        texts = [f"nullif(concat_ws(', ', {part}), '')" for part in parts]
    return f"concat_ws(', ', {', '.join(texts) or 'null'})"


def _effects(
    resource: Resource[Any],
    operation: str,
    joined: Mapping[str, str],
    *,
    source: str = ROW,
    others: str = "",
    reason: bool = False,
) -> list[str]:
    """The event, the jobs and the audit entry of each row in the CTE `source`, as CTEs.

    joined: as in `_values`.
    others: further sources for the audit.
    reason: as of `_change`.

    Except for a create, `source` must have forge_before, the state before the change; for an update
    also forge_names, the names of the changed columns, for the event.
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
    # Of the same unique job only the first: another one could not lock the row that it inserts.
    hooks: dict[object, jobs.JobHook] = {}
    for n, hook in enumerate(resource.hooks_of(operation)):
        hooks.setdefault(hook.kind if hook.unique else n, hook)
    for n, hook in enumerate(hooks.values()):
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
        names["reason_name"] = ", reason" if reason else ""
        names["reason_value"] = ", %(forge_reason)s::text" if reason else ""
        names["topic"] = db.literal(resource.topic)
        fields = _changes(resource, operation, source, joined)
        parts.append(_fill("audit", resource, fields=fields, **names))
    return parts
