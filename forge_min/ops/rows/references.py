"""Related rows by a unique field of theirs: `ward.code` in a file instead of `ward_id`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...actions import TYPES, Actions, Column, Relation, quote, scope
from ...errors import BadRequest, FieldError
from ...i18n import text
from .reader import InputLine

AnyActions = Actions[Any, Any, Any]


class Reference(NamedTuple):
    """One unique field of the target of a belongs_to."""

    relation: Relation
    target: AnyActions
    column: Column

    def lookup(
        self, values: Collection[Any], *, by: Column, shown: Column, live: bool = True
    ) -> dict[Any, Any]:
        """Map values of the column `by` to those of `shown`, in rows that the identity may read.

        live: exclude rows that are marked as deleted.
        """
        resource = self.target.resource
        conditions = [f"{quote(by.name)} = any(%(values)s)", *scope(resource, "", live=live)]
        sql = (
            f"select {quote(by.name)} as value, {quote(shown.name)} as shown"
            f" from {quote(resource.source or resource.table)} where {' and '.join(conditions)}"
        )
        params = {"values": list(values), "forge_tenant": self.target.tenant()}
        rows = self.target.run_sql(sql, params, into=dict)
        return {row["value"]: row["shown"] for row in rows}


def references(actions: AnyActions) -> dict[str, Reference]:
    """Return the unique fields of related rows that the current identity may read.

    The names are those of files: "ward.code".
    """
    result = {}
    for relation in actions.resource.relations:
        target = actions.registry.actions[relation.target]
        if relation.kind == "belongs_to" and target.may("read"):
            readable = target.shown()
            for column in target.resource.columns:
                if column.unique and column.name in readable:
                    result[f"{relation.name}.{column.name}"] = Reference(relation, target, column)
    return result


def resolve(
    lines: Sequence[InputLine], known: Mapping[str, Reference]
) -> tuple[list[InputLine], dict[int, list[FieldError]]]:
    """Return the lines with keys instead of references, and the errors by the index of a line."""
    errors: dict[int, list[FieldError]] = {}
    names = set[str]().union(*(line.item for line in lines)) & known.keys()
    if not names:
        return list(lines), errors
    items = [dict(line.item) for line in lines]
    for name in names:
        reference = known[name]
        read = TYPES[reference.column.type].read
        column = reference.relation.column
        values = {}
        for index, item in enumerate(items):
            value = item.pop(name, None)
            if value is None:
                item.setdefault(column, None)
                continue
            try:
                values[index] = read(value)
            except ValueError as err:
                errors.setdefault(index, []).append(FieldError(f"/{name}", "type", str(err)))
        key = reference.target.resource.key
        keys = reference.lookup({*values.values()}, by=reference.column, shown=key)
        for index, value in values.items():
            if value in keys:
                items[index][column] = keys[value]
            else:
                message = text("refers to an entry that does not exist")
                error = FieldError(f"/{name}", "no_such_row", message)
                errors.setdefault(index, []).append(error)
    return [line._replace(item=item) for line, item in zip(lines, items)], errors


def references_named(actions: AnyActions, names: Iterable[str]) -> dict[str, Reference]:
    """Return the references of these names. Raises BadRequest for an unknown one."""
    known = references(actions)
    for name in names:
        if name not in known:
            hint = f"known: {', '.join(known)}" if known else ""
            raise BadRequest(f"{name!r} is not a unique field of a relation", hint=hint)
    return {name: known[name] for name in names}
