"""The ONE statement of a write: row, join rows, audit, event and jobs as CTEs of each other, so
they commit or vanish together.

The resource's SQL comes from gen/, the statements on forge_ tables from notify and jobs; this file
only puts them side by side in the frames of statements.sql. A pipeline of BEGIN, four statements
and COMMIT costs three times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..base import scope
from ..resource import Column, Resource, quote
from .fragments import (
    NO_NAMES,
    NOTHING,
    columns,
    differing,
    differs,
    effects,
    fill,
    join,
    links,
    sql_type,
    state,
    this_row,
)

Names = Sequence[str]
PRIOR, GIVEN = "forge_prior", "forge_given"


def create(resource: Resource[Any], fields: Names = (), many: bool = False) -> str:
    """One row in, the row as stored out; many: arrays of columns in, the number of rows out.

    fields: the many_to_many fields that are given, the n-th as %(forge_owners_n)s and
    %(forge_ids_n)s.
    """
    joined = {field: f"forge_link_{n}" for n, field in enumerate(fields)}
    owner = f"forge_owner = row.{quote(resource.key.name)}"
    others = "".join(f" left join {link} on {link}.{owner}" for link in joined.values())
    states = NOTHING, state(resource, "row", joined)
    return fill(
        "create",
        resource,
        insert=resource.insert_many if many else resource.insert,
        answer="count(*)" if many else columns(resource, "row"),
        also=join("link", resource, fields) + effects(resource, "create", states, others=others),
    )


def update(resource: Resource[Any], changed: Names, frozen: Names, fields: Names) -> str:
    """Write the columns `changed` and the many_to_many `fields` of a row where something differs
    and the columns `frozen` do not. A placeholder for each. Out: as `_change`.
    """
    given = [f"{_cast(resource, name)} as {quote(name)}" for name in (*changed, *frozen)]
    given += [
        f"array(select distinct forge_x from unnest({_cast(resource, name, '[]')}) forge_x"
        f" order by 1) as {quote(name)}"
        for name in fields
    ]
    before = state(resource, PRIOR, dict.fromkeys(fields, PRIOR))
    after = state(resource, "row", dict.fromkeys(fields, GIVEN))
    return _change(
        resource,
        "update",
        (before, after),
        fields,
        frozen,
        sets=[f"{quote(name)} = %({name})s" for name in changed] + _touched(resource),
        differs=differs([*changed, *fields], PRIOR, GIVEN),
        given=given or ["0 as forge_none"],
        changed=_told(resource, [*changed, *fields], GIVEN),
        joins=join("relink", resource, fields),
    )


def soft_delete(resource: Resource[Any]) -> str:
    """Mark a row as deleted. Out: as `_change`."""
    fields = _audited(resource)
    states = state(resource, PRIOR, dict.fromkeys(fields, PRIOR)), NOTHING
    sets = ['"deleted_at" = now()']
    return _change(resource, "delete", states, fields, sets=sets, differs="true")


def restore(resource: Resource[Any]) -> str:
    """Take the mark back. Out: as `_change`; a row without it is not written."""
    fields = _audited(resource)
    states = NOTHING, state(resource, "row", dict.fromkeys(fields, PRIOR))
    marked, sets = f'{PRIOR}."deleted_at" is not null', ['"deleted_at" = null']
    return _change(resource, "restore", states, fields, sets=sets, differs=marked)


def delete(resource: Resource[Any]) -> str:
    """Out: (deleted, version as the statement began or NULL when there was no such row)."""
    fields = _audited(resource)
    states = state(resource, "row", dict.fromkeys(fields, "row")), NOTHING
    return fill(
        "delete",
        resource,
        found=this_row(resource, "forge_t"),
        unless=_unless(resource, "forge_t", fields),
        arrays="".join(f", {array}" for array in join("targets", resource, fields)),
        also=effects(resource, "delete", states),
    )


def upsert(resource: Resource[Any], names: Names, changed: Names, frozen: Names, on: Column) -> str:
    """Insert rows, or update where the unique column `on` has the value already.

    names: the columns of a new row, a placeholder with an array for each; changed: those that an
    update writes where they differ; frozen: those that must be the same. Out, for each given row:
    (created, updated, unchanged, missed, deleted or immutable; the columns that stand in the way).
    """
    is_key = on is resource.key
    column = quote(on.name)
    mark = '"deleted_at" is not null' if resource.soft_delete and is_key else ""
    made = NOTHING, state(resource, "forge_made", {})
    states = state(resource, PRIOR, {}), state(resource, "forge_changed", {})
    prior = f" join {PRIOR} on {PRIOR}.{column} = forge_changed.{column}"
    wanted = f"forge_t.{column} = any({_cast(resource, on.name, '[]')})"
    return fill(
        "upsert",
        resource,
        on=column,
        on_name=f"'{on.name}'",
        names=[quote(name) for name in names],
        arrays=[_cast(resource, name, "[]") for name in names],
        columns=columns(resource, "forge_t"),
        found=" and ".join([wanted, *scope(resource, "forge_t", live=not is_key)]),
        target=['"tenant_id"'] * resource.tenant_scoped + [column],
        live=' where "deleted_at" is null' if resource.soft_delete and not is_key else "",
        sets=[f"{quote(name)} = excluded.{quote(name)}" for name in changed] + _touched(resource),
        differs=differs(changed, "forge_t", "excluded"),
        unless=f" and not ({differs(frozen, 'forge_t', 'excluded')})"
        + (mark and f" and not (forge_t.{mark})"),
        changed=_told(resource, changed, "row"),
        deleted=f"{PRIOR}.{mark}" if mark else "false",
        locked=differs(frozen, PRIOR, GIVEN),
        frozen=differing(frozen, PRIOR, GIVEN),
        also=effects(resource, "create", made, source="forge_made")
        + effects(
            resource, "update", states, source="forge_changed", others=prior, changed="forge_names"
        ),
    )


def _change(
    resource: Resource[Any],
    operation: str,
    states: tuple[str, str],
    fields: Names,
    frozen: Names = (),
    *,
    sets: list[str],
    differs: str,
    given: Iterable[str] = ("0 as forge_none",),
    changed: str = NO_NAMES,
    joins: Iterable[str] = (),
) -> str:
    """Change one row. Out: (written, again, names of frozen columns that differ or NULL, *columns):
    the new row, or the old one when nothing was written; again: its join rows changed while we
    waited for the lock, so the statement has to be sent anew.
    """
    told = "forge_names" if operation == "update" else NO_NAMES
    others = f", {PRIOR}, {GIVEN}"
    return fill(
        "change",
        resource,
        prior=[columns(resource, "forge_t"), *join("targets", resource, fields)],
        found=this_row(resource, "forge_t", live=operation != "restore"),
        given=given,
        sets=sets if operation == "update" else [*sets, '"version" = forge_t."version" + 1'],
        differs=differs,
        unless=_unless(resource, PRIOR, fields, frozen),
        changed=changed,
        also=[*joins, *effects(resource, operation, states, others=others, changed=told)],
        again=f'{PRIOR}."version" <> {_seen(resource)}' if fields else "false",
        frozen=differing(frozen, PRIOR, GIVEN) if frozen else NO_NAMES,
        sources=[PRIOR, GIVEN] if frozen else PRIOR,
        written=columns(resource, "row"),
        unwritten=columns(resource, PRIOR),
    )


def _unless(resource: Resource[Any], source: str, fields: Names, frozen: Names = ()) -> str:
    """What else must hold for the row to be written: its version, where one was asked for."""
    version = f'{source}."version"'
    found = f" and (%(forge_version)s::bigint is null or {version} = %(forge_version)s::bigint)"
    found += f" and {version} = {_seen(resource)}" if fields else ""
    return found + (f" and not ({differs(frozen, source, GIVEN)})" if frozen else "")


def _seen(resource: Resource[Any]) -> str:
    """The row's version in the statement's snapshot, which is what it reads join tables by. It
    differs from the version of the locked row when that changed meanwhile.
    """
    row = this_row(resource, "forge_s", live=False)
    return f'(select forge_s."version" from {quote(resource.table)} forge_s where {row})'


def _touched(resource: Resource[Any]) -> list[str]:
    """What every update sets."""
    times = ['"updated_at" = now()'] if resource.timestamps else []
    return ['"version" = forge_t."version" + 1', *times]


def _cast(resource: Resource[Any], name: str, array: str = "") -> str:
    return f"%({name})s::{sql_type(resource, name)}{array}"


def _audited(resource: Resource[Any]) -> Names:
    """The many_to_many fields whose keys the audit of a whole row shows."""
    return tuple(links(resource)) if resource.auditable else ()


def _told(resource: Resource[Any], names: Names, after: str) -> str:
    """The names that differ, without those that not everybody may see: an event goes to all."""
    hidden = {column.name for column in resource.columns if column.visible_to}
    return differing([name for name in names if name not in hidden], PRIOR, after)
