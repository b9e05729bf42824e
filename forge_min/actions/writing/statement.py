"""The ONE statement of a write: row, join rows, audit, event and jobs as CTEs of each other, so
they commit or vanish together.

The resource's SQL comes from gen/, the statements on forge_ tables from notify and jobs; this file
only puts them side by side in the frames of statements.sql. A pipeline of BEGIN, four statements
and COMMIT costs three times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base import scope, this_row
from ..resource import Column, Resource, quote
from . import fragments as part
from .fragments import GIVEN, PRIOR, ROW

Names = Sequence[str]
VERSION = '"version" = forge_t."version" + 1'


def create(resource: Resource[Any], fields: Names = (), many: bool = False) -> str:
    """One row in, the row as stored out; many: arrays of columns in, the number of rows out.

    fields: the many_to_many fields that are given, the n-th as %(forge_owners_n)s and
    %(forge_ids_n)s.
    """
    joined = {field: f"forge_link_{n}" for n, field in enumerate(fields)}
    owner = f"forge_owner = {ROW}.{quote(resource.key.name)}"
    others = "".join(f" left join {link} on {link}.{owner}" for link in joined.values())
    made = part.effects(resource, "create", joined, others=others)
    return part.fill(
        "create",
        resource,
        insert=resource.insert_many if many else resource.insert,
        answer="count(*)" if many else part.columns(resource, ROW),
        also=part.join("link", resource, fields) + made,
    )


def update(
    resource: Resource[Any], changed: Names, frozen: Names, fields: Names, merged: Names = ()
) -> str:
    """Write the columns `changed` and the many_to_many `fields` of a row where something differs
    and the columns `frozen` do not. A placeholder for each. Out: as `_change`.

    merged: those of `fields` of which only the difference from %(forge_seen_<field>)s is written.
    """
    given = [f"{_cast(resource, name)} as {quote(name)}" for name in (*changed, *frozen)]
    return _change(
        resource,
        "update",
        fields,
        frozen,
        sets=[f"{quote(name)} = %({name})s" for name in changed] + _touched(resource),
        given=given
        + [
            sql
            for name in fields
            for sql in part.join("merged" if name in merged else "given", resource, [name])
        ],
        when=part.differs([*changed, *fields], PRIOR, GIVEN),
        names=_told(resource, [*changed, *fields], GIVEN),
    )


def delete(resource: Resource[Any]) -> str:
    """Delete a row, or with soft_delete mark it so. Out: as `_change`."""
    sets = ['"deleted_at" = now()', VERSION] if resource.soft_delete else []
    return _change(resource, "delete", _audited(resource), sets=sets)


def last_words(resource: Resource[Any]) -> str:
    """What goes with a deletion, of a row that another one's takes along. Out: as `_change`."""
    same = ['"version" = forge_t."version"']
    return _change(resource, "delete", _audited(resource), sets=same)


def restore(resource: Resource[Any]) -> str:
    """Take the mark back. Out: as `_change`; a row without it is not written."""
    fields, sets = _audited(resource), ['"deleted_at" = null', VERSION]
    return _change(resource, "restore", fields, sets=sets, when=_marked(PRIOR))


def upsert(resource: Resource[Any], names: Names, changed: Names, frozen: Names, on: Column) -> str:
    """Insert rows, or update where the unique column `on` has the value already.

    names: the columns of a new row, a placeholder with an array for each; changed: those that an
    update writes where they differ; frozen: those that must be the same. Out, for each given row:
    (created, updated, unchanged, missed, deleted or immutable; the columns that stand in the way).
    """
    is_key = on is resource.key
    column, marks = quote(on.name), resource.soft_delete and is_key
    prior = f" join {PRIOR} on {PRIOR}.{column} = forge_changed.{column}"
    wanted = f"forge_t.{column} = any({_cast(resource, on.name, '[]')})"
    return part.fill(
        "upsert",
        resource,
        on=column,
        on_name=f"'{on.name}'",
        names=[quote(name) for name in names],
        arrays=[_cast(resource, name, "[]") for name in names],
        columns=part.columns(resource, "forge_t"),
        found=" and ".join([wanted, *scope(resource, "forge_t", live=not is_key)]),
        target=['"tenant_id"'] * resource.tenant_scoped + [column],
        live=' where "deleted_at" is null' if resource.soft_delete and not is_key else "",
        sets=[f"{quote(name)} = excluded.{quote(name)}" for name in changed] + _touched(resource),
        differs=part.differs(changed, "forge_t", "excluded"),
        locked=part.differs(frozen, "forge_t", "excluded"),
        deleted=_marked("forge_t") if marks else "false",
        before=part.before(resource, "update", {}),
        changed=_told(resource, changed, ROW),
        was_deleted=_marked(PRIOR) if marks else "false",
        was_locked=part.differs(frozen, PRIOR, GIVEN),
        frozen=part.differing(frozen, PRIOR, GIVEN),
        also=part.effects(resource, "create", {}, source="forge_made")
        + part.effects(resource, "update", {}, source="forge_changed", others=prior),
    )


def _change(
    resource: Resource[Any],
    operation: str,
    fields: Names,
    frozen: Names = (),
    *,
    sets: Names,
    given: Names = (),
    when: str = "true",
    names: str = "null",
) -> str:
    """Change one row where `when` holds; without `sets` delete it. Out: (again, stale, names of
    frozen columns that differ, *columns): the new row, or the old one when nothing was written;
    again: its join rows changed while we waited for the lock, so it has to be sent anew; stale: it
    has another version than %(forge_version)s. fields: the many_to_many fields that an update
    writes, or that the audit shows. names: SQL of what an update changes.
    """
    table, live, is_update = quote(resource.table), operation != "restore", operation == "update"
    change = f"update {table} forge_t set {', '.join(sets)}\nfrom"
    again = part.fill("again", resource, found=this_row(resource, "forge_s", live=False))
    joined = dict.fromkeys(fields, GIVEN if is_update else PRIOR)
    joins = part.join("relink", resource, fields) if is_update else []
    effects = part.effects(resource, operation, joined, others=f", {PRIOR}, {GIVEN}")
    return part.fill(
        "change",
        resource,
        prior=[part.columns(resource, "forge_t"), *part.join("targets", resource, fields)],
        found=this_row(resource, "forge_t", live=live),
        given=given or ["0 as forge_none"],
        write=change if sets else f"delete from {table} forge_t\nusing",
        differs=when,
        again=again if fields else "false",
        locked=part.differs(frozen, PRIOR, GIVEN),
        before=part.before(resource, operation, dict.fromkeys(fields, PRIOR)),
        changed=names,
        also=joins + effects,
        frozen=part.differing(frozen, PRIOR, GIVEN),
        written=part.columns(resource, ROW),
        unwritten=part.columns(resource, PRIOR),
    )


def _touched(resource: Resource[Any]) -> list[str]:
    """What every update sets."""
    return [VERSION, *['"updated_at" = now()'] * resource.timestamps]


def _marked(source: str) -> str:
    return f'{source}."deleted_at" is not null'


def _cast(resource: Resource[Any], name: str, array: str = "") -> str:
    return f"%({name})s::{part.sql_type(resource, name)}{array}"


def _audited(resource: Resource[Any]) -> Names:
    """The many_to_many fields whose keys the audit of a whole row shows."""
    return tuple(part.links(resource)) if resource.auditable else ()


def _told(resource: Resource[Any], names: Names, after: str) -> str:
    """The names that differ, without those that not everybody may see: an event goes to all."""
    hidden = {column.name for column in resource.columns if column.visible_to}
    return part.differing([name for name in names if name not in hidden], PRIOR, after)
