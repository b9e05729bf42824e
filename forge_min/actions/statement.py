"""The single statement of a write: one CTE each for row, join rows, audit, event and jobs.

So they are committed or rolled back together. The resource's SQL comes from gen/, the statements on
forge_ tables from notify and jobs; this module composes them with the frames of statements.sql.
Values are placeholders. A pipeline of BEGIN, four statements and COMMIT costs three times as much.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from .. import db, jobs, notify
from .base import load_frames, scope, this_row
from .resource import AnyResource, Column, Relation, quote

Names = Sequence[str]
VERSION = '"version" = forge_t."version" + 1'
# CTEs of several frames.
ROW = "forge_row"
PRIOR = "forge_prior"
GIVEN = "forge_given"

_FRAMES = load_frames("statements.sql")
# Types that have another name in PostgreSQL.
_SQL_TYPES = {
    **dict.fromkeys(("string", "enum", "slug", "email", "url"), "text"),
    **dict.fromkeys(("string[]", "enum[]"), "text[]"),
    "datetime": "timestamptz",
    "duration": "interval",
    "json": "jsonb",
}
_UNAUDITED = ("id", "version", "created_at", "updated_at", "deleted_at")
# Values in the audit and in jobs are those of the API's JSON: exact decimals, times in UTC.
_JSON = {
    "decimal": "{}::text",
    "datetime": "to_json({} at time zone 'UTC') #>> '{{}}' || 'Z'",
    "duration": _FRAMES["duration"].template.strip(),
}
_NO_COLUMNS = "'{}'::text[]"
# The names of frames for the tenant of a row.
_TENANT = {
    "tenant": "%(forge_tenant)s",
    "tenant_name": ', "tenant_id"',
    "tenant_value": ", %(forge_tenant)s::uuid",
    "tenant_t": ' and forge_t."tenant_id" = %(forge_tenant)s',
    "tenant_x": ' and forge_x."tenant_id" = %(forge_tenant)s',
}
_NO_TENANT = dict.fromkeys(_TENANT, "") | {"tenant": "null"}
# Those for the author of a row.
_AUTHOR = {"author_name": ', "created_by"', "author_value": ", nullif(%(forge_actor)s::text, '')"}
_NO_AUTHOR = dict.fromkeys(_AUTHOR, "")


def create(resource: AnyResource, fields: Names = (), many: bool = False) -> str:
    """Insert a row and return it as stored.

    fields: the many_to_many fields that have keys, the n-th as %(forge_owners_n)s and
        %(forge_ids_n)s.
    many: the parameters are arrays of columns, the result is the number of rows or, for a resource
        with a rule, the rows.
    """
    key = quote(resource.key.name)
    joined = {}
    others = ""
    for n, field in enumerate(fields):
        link = f"forge_link_{n}"
        joined[field] = link
        others += f" left join {link} on {link}.forge_owner = {ROW}.{key}"
    insert = resource.insert_many if many else resource.insert
    ctes = [f"{ROW} as (\n{insert}\n)"]
    ctes += _join("link", resource, fields)
    ctes += _effects(resource, "create", joined, others=others)
    result = _columns(resource, ROW)
    if many and not resource.has_rule:
        result = "count(*)"
    return _with(ctes, f"select {result} from {ROW}")


def update(
    resource: AnyResource, changed: Names, frozen: Names, fields: Names, merged: Names = ()
) -> str:
    """Update a row if one of `changed` or `fields` differs and none of `frozen` does.

    changed, frozen: columns, a placeholder for each.
    fields: many_to_many fields.
    merged: those of `fields` of which only the difference from %(forge_seen_<field>)s is written.

    The result is that of `_change`.
    """
    assigned = [f"{_cast(resource, name)} as {quote(name)}" for name in (*changed, *frozen)]
    assigned += _join("given", resource, [name for name in fields if name not in merged])
    assigned += _join("merged", resource, merged)
    sets = [f"{quote(name)} = %({name})s" for name in changed]
    names = [*changed, *fields]
    return _change(
        resource,
        "update",
        fields,
        _prevents(resource, changed, frozen, PRIOR, GIVEN),
        sets=sets + _stamps(resource),
        assigned=assigned,
        when=_differs(names, PRIOR, GIVEN),
        names=_public_changes(resource, names, GIVEN),
    )


def delete(resource: AnyResource) -> str:
    """Delete a row, or mark it as deleted with soft_delete. The result is that of `_change`."""
    sets = []
    if resource.soft_delete:
        sets = ['"deleted_at" = now()', VERSION]
    return _change(resource, "delete", _audited(resource), sets=sets)


def cascade_effects(resource: AnyResource) -> str:
    """Write the event, jobs and audit of a row that a cascade deletes.

    The result is that of `delete`.
    """
    same = ['"version" = forge_t."version"']
    return _change(resource, "delete", _audited(resource), sets=same)


def restore(resource: AnyResource) -> str:
    """Remove the mark of a deleted row; a row without it is not written.

    The result is that of `_change`.
    """
    sets = ['"deleted_at" = null', VERSION]
    return _change(resource, "restore", _audited(resource), sets=sets, when=_marked(PRIOR))


def transition(resource: AnyResource, name: str) -> str:
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


def excluded(resource: AnyResource) -> str:
    """Select the transitions of a row from which the user %(forge_actor)s is excluded."""
    prior = f"select * from {quote(resource.table)} where {this_row(resource)}"
    return f"with {PRIOR} as ({prior}) {_excluded(resource)}"


def _excluded(resource: AnyResource) -> str:
    transitions = json.dumps([transition._asdict() for transition in resource.transitions])
    return _fill("excluded", resource, transitions=db.literal(transitions))


def upsert(resource: AnyResource, names: Names, changed: Names, frozen: Names, on: Column) -> str:
    """Insert rows, or update those with the same value in the unique column `on`.

    names: the columns of a new row, a placeholder with an array for each.
    changed: the columns that an update writes if they differ.
    frozen: the columns that must not differ.

    The result has for each row: created, updated, unchanged, missed (another transaction inserted
    it meanwhile, so it must be sent again), deleted or immutable; and the columns that prevent the
    write. For a resource with a rule, the columns of the new and of the old row follow.
    """
    column = quote(on.name)
    columns = ", ".join(quote(name) for name in names)
    typed = [f"{quote(name)}::{sql_type(resource, name)} as {quote(name)}" for name in names]
    arrays = [_cast(resource, name, "[]") for name in names]
    is_key = on is resource.key
    keys = f"forge_t.{column} = any({_cast(resource, on.name, '[]')})"
    conditions = scope(resource, "forge_t", live=not is_key)  # only the key finds a deleted row
    ctes = [
        _fill(
            "upsert_given",
            resource,
            given=", ".join(typed),
            arrays=", ".join(arrays),
            names=columns,
        ),
        _fill(
            "upsert_prior",
            resource,
            on=column,
            columns=_columns(resource, "forge_t"),
            where=" and ".join([keys, *conditions]),
        ),
        _upsert_row(resource, columns, changed, frozen, on),
        _fill("upsert_new", resource, on=column),
        _fill(
            "upsert_changed",
            resource,
            on=column,
            before=_before(resource, "update", {}),
            changed=_public_changes(resource, changed, ROW),
        ),
    ]
    ctes += _effects(resource, "create", {}, source="forge_new")
    others = f" join {PRIOR} on {PRIOR}.{column} = forge_changed.{column}"
    ctes += _effects(resource, "update", {}, source="forge_changed", others=others)
    was_deleted = "false"
    if resource.soft_delete and is_key:
        was_deleted = _marked(PRIOR)
    rows = ""
    if resource.has_rule:
        rows = f", {_columns(resource, ROW)}, {_columns(resource, PRIOR)}"
    result = _fill(
        "upsert_result",
        resource,
        on=column,
        on_name=on.name,
        was_deleted=was_deleted,
        frozen=_prevents(resource, changed, frozen, PRIOR, GIVEN),
        rows=rows,
    )
    return _with(ctes, result)


def _upsert_row(
    resource: AnyResource, columns: str, changed: Names, frozen: Names, on: Column
) -> str:
    """The inserted and the updated rows."""
    column = quote(on.name)
    live = ""
    deleted = "false"
    if resource.soft_delete:
        if on is resource.key:
            deleted = _marked("forge_t")
        else:
            live = ' where "deleted_at" is null'
    sets = [f"{quote(name)} = excluded.{quote(name)}" for name in changed]
    return _fill(
        "upsert_row",
        resource,
        on=column,
        columns=columns,
        target=f'"tenant_id", {column}' if resource.tenant_scoped else column,
        live=live,
        sets=", ".join(sets + _stamps(resource)),
        differs=_differs(changed, "forge_t", "excluded"),
        locked=_prevents(resource, changed, frozen, "forge_t", "excluded"),
        deleted=deleted,
    )


def _change(
    resource: AnyResource,
    operation: str,
    fields: Names,
    frozen: str = _NO_COLUMNS,
    *,
    sets: Names,
    assigned: Names = (),
    when: str = "true",
    names: str = "null",
    reason: bool = False,
) -> str:
    """Change one row if `when` is true; without `sets` delete it.

    fields: the many_to_many fields that an update writes, or that the audit shows.
    frozen: SQL of the names of the columns that prevent the change.
    sets: SQL of the assignments.
    assigned: SQL of the new values.
    names: SQL of the names of changed columns.
    reason: the audit entry has %(forge_reason)s.

    The result is (again, stale, names of columns that prevent the change, *columns). The columns
    are those of the new row, or of the old one if nothing was written. again: null if the row was
    written; true if it changed while the statement waited for the lock, so it must be sent
    again; false if it was not written for another reason. stale: the version is not
    %(forge_version)s. For a resource with a rule, the columns of the old row follow.
    """
    where = this_row(resource, "forge_t", live=operation != "restore")
    columns = [_columns(resource, "forge_t"), *_join("targets", resource, fields)]
    if sets:
        lock = "no key update"
        write = f"update {quote(resource.table)} forge_t set {', '.join(sets)}\nfrom"
    else:
        lock = "update"  # to get this lock of a delete later could be a deadlock with a rule
        write = f"delete from {quote(resource.table)} forge_t\nusing"
    # A transition may depend on the history, which comes from the snapshot, too.
    again = "false"
    if fields or reason:
        version_of = this_row(resource, "forge_s", live=False)
        again = _fill("again", resource, where=version_of)
    ctes = [
        _fill("change_prior", resource, columns=", ".join(columns), where=where, lock=lock),
        _fill("change_given", resource, given=", ".join(assigned) or "0 as forge_none"),
        _fill(
            "change_row",
            resource,
            write=write,
            differs=when,
            again=again,
            frozen=frozen,
            before=_before(resource, operation, dict.fromkeys(fields, PRIOR)),
            changed=names,
        ),
    ]
    joined = dict.fromkeys(fields, PRIOR)
    if operation == "update":
        joined = dict.fromkeys(fields, GIVEN)
        ctes += _join("relink", resource, fields)
    others = f", {PRIOR}, {GIVEN}"
    ctes += _effects(resource, operation, joined, others=others, reason=reason)
    source = ROW
    written = _columns(resource, ROW)
    prior = unwritten = _columns(resource, PRIOR)
    if resource.has_rule:
        source = f"{ROW}, {PRIOR}"
        written = f"{written}, {prior}"
        unwritten = f"{prior}, {prior}"
    result = _fill(
        "change_result",
        resource,
        source=source,
        written=written,
        unwritten=unwritten,
        again=again,
        frozen=frozen,
    )
    return _with(ctes, result)


def _stamps(resource: AnyResource) -> list[str]:
    """The assignments of every update."""
    if resource.timestamps:
        return [VERSION, '"updated_at" = now()']
    return [VERSION]


def _marked(source: str) -> str:
    return f'{source}."deleted_at" is not null'


def _cast(resource: AnyResource, name: str, array: str = "") -> str:
    """SQL of a parameter. array: "[]" for a value of each row; a list is then its text."""
    type = sql_type(resource, name)
    if array and type.endswith("[]"):
        type = "text"
    return f"%({name})s::{type}{array}"


def _audited(resource: AnyResource) -> Names:
    """The many_to_many fields: the audit of a whole row shows their keys."""
    if not resource.auditable:
        return ()
    return tuple(links(resource))


def _public_changes(resource: AnyResource, names: Names, after: str) -> str:
    """The names that differ, without restricted columns: an event goes to all clients."""
    hidden = {column.name for column in resource.columns if column.visible_to}
    visible = [name for name in names if name not in hidden]
    return _differing(visible, PRIOR, after)


# -- the parts of these statements -----------------------------------------------------------------


def _with(ctes: Iterable[str], result: str) -> str:
    """A statement of common table expressions and the select of its result."""
    return f"with {', '.join(ctes)}\n{result}"


def _fill(frame: str, resource: AnyResource, **names: str) -> str:
    """A frame of statements.sql, filled with `names` and those of every statement."""
    names["table"] = quote(resource.table)
    names["key"] = quote(resource.key.name)
    names["topic"] = db.literal(resource.topic)
    names |= _TENANT if resource.tenant_scoped else _NO_TENANT
    names |= _AUTHOR if resource.authored else _NO_AUTHOR
    return _FRAMES[frame].substitute(names)


def _columns(resource: AnyResource, source: str) -> str:
    """The resource's columns, each qualified by `source`."""
    return ", ".join(f"{source}.{quote(c.name)}" for c in resource.columns)


def sql_type(resource: AnyResource, name: str) -> str:
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
    if not names:
        return _NO_COLUMNS
    cases = [f"case when {_differs([n], before, after)} then '{n}' end" for n in names]
    return f"array_remove(array[{', '.join(cases)}], null)"


def _prevents(resource: AnyResource, changed: Names, frozen: Names, before: str, after: str) -> str:
    """SQL of the names of the columns that prevent a write, as text[].

    They are frozen columns that differ, and changed ones that are locked in the row's state.
    """
    names = _differing(frozen, before, after)
    if not resource.locked:
        return names
    states = db.literal(json.dumps(resource.locked))
    differing = _differing(changed, before, after)
    locked = _fill("locked", resource, states=states, differing=differing, source=before)
    return f"{names} || {locked}"


def links(resource: AnyResource) -> dict[str, Relation]:
    """Return the many_to_many relations by the JSON field with the keys of their targets."""
    return {r.field: r for r in resource.relations if r.field}


def _join(frame: str, resource: AnyResource, fields: Iterable[str]) -> list[str]:
    """The frame of statements.sql for each of these many_to_many fields.

    frame: "link" or "relink" are CTEs that write the keys of new rows or of an existing one. The
        others are arrays of keys, named as the field: "targets" are those of the row forge_t,
        "given" and "merged" the new ones.
    """
    relations = links(resource)
    parts = []
    for n, field in enumerate(fields):
        link = relations[field]
        part = _fill(
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
        parts.append(part)
    return parts


def _values(resource: AnyResource, source: str, joined: Mapping[str, str]) -> dict[str, str]:
    """SQL of the values of a row for the audit and jobs, by name.

    source: of the row.
    joined: many_to_many field → the source with its keys; an empty list becomes null.
    """
    values = {}
    for column in resource.columns:
        value = f"{source}.{quote(column.name)}"
        values[column.name] = _JSON.get(column.type, "{}").format(value)
    for field, keys in joined.items():
        values[field] = f"nullif({keys}.{quote(field)}, '{{}}')"
    return values


def _before(resource: AnyResource, operation: str, joined: Mapping[str, str]) -> str:
    """SQL of the row before the change, as one jsonb for the jobs; null without jobs.

    It has no personal fields: operators see the arguments of jobs, and each job keeps a copy.
    """
    if not resource.hooks_of(operation):
        return "null::jsonb"
    values = _values(resource, PRIOR, joined)
    for column in resource.columns:
        if column.personal:
            del values[column.name]
    columns = ", ".join(f"{value} as {quote(name)}" for name, value in values.items())
    return f"(select to_jsonb(forge_j) from (select {columns}) forge_j)"


def _changes(resource: AnyResource, operation: str, source: str, joined: Mapping[str, str]) -> str:
    """SQL of the changed fields for the audit: `"name": [before, after]`, joined by commas."""
    old_values = _values(resource, PRIOR, dict.fromkeys(joined, PRIOR))
    texts = []
    for name, value in _values(resource, source, joined).items():
        if name not in _UNAUDITED:
            texts.append(_change_text(operation, name, old_values[name], value))
    while len(texts) > 90:  # a function takes a hundred arguments (PostgreSQL manual, appendix K)
        groups = [", ".join(texts[at : at + 90]) for at in range(0, len(texts), 90)]
        texts = [f"nullif(concat_ws(', ', {group}), '')" for group in groups]
    return f"concat_ws(', ', {', '.join(texts) or 'null'})"


def _change_text(operation: str, name: str, old: str, new: str) -> str:
    """SQL of the change of one field, null if it has not changed."""
    before = f"to_json({old})"
    after = f"to_json({new})"
    if operation in ("create", "restore"):
        return f"""'"{name}": [null, ' || {after} || ']'"""
    if operation == "delete":
        return f"""'"{name}": [' || {before} || ', null]'"""
    both = f"coalesce({before}::text, 'null') || ', ' || coalesce({after}::text, 'null')"
    return f"""case when {old} is distinct from {new} then '"{name}": [' || {both} || ']' end"""


def _effects(
    resource: AnyResource,
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
    ctes = [_event(resource, operation, source), *_jobs(resource, operation, source)]
    if resource.auditable:
        audit = _fill(
            "audit",
            resource,
            operation=operation,
            fields=_changes(resource, operation, source, joined),
            source=source,
            others=others,
            reason_name=", reason" if reason else "",
            reason_value=", %(forge_reason)s::text" if reason else "",
        )
        ctes.append(audit)
    return ctes


def _event(resource: AnyResource, operation: str, source: str) -> str:
    event = notify.event_fragment(
        source,
        resource.topic,
        f"{resource.event}.{operation}d",
        changed_sql="forge_names" if operation == "update" else "null::text[]",
        key=resource.key.name,
        tenant_param=_tenant_param(resource),
    )
    return f"forge_event_{operation} as (\n{event}\n)"


def _jobs(resource: AnyResource, operation: str, source: str) -> list[str]:
    # Of the same unique job only the first: another one could not lock the row that it inserts.
    unique_kinds = set()
    ctes: list[str] = []
    for hook in resource.hooks_of(operation):
        if hook.unique:
            if hook.kind in unique_kinds:
                continue
            unique_kinds.add(hook.kind)
        job = jobs.job_fragment(
            source,
            hook,
            resource.name,
            operation,
            metadata_param="forge_metadata",
            before=None if operation == "create" else "forge_before",
            key=resource.key.name,
            tenant_param=_tenant_param(resource),
        )
        ctes.append(f"forge_job_{operation}_{len(ctes)} as (\n{job}\n)")
    return ctes


def _tenant_param(resource: AnyResource) -> str | None:
    return "forge_tenant" if resource.tenant_scoped else None
