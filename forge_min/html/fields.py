"""What people are told, and asked for, of a resource: its fields with labels and rules. No HTML.

The rules are the generated validator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..actions import Column, Relation, Resource, rules_of
from ..auth import current_identity
from ..i18n import humanize, text


class Field(NamedTuple):
    """One field of a form. name: in JSON. kind: a name of `actions.values.TYPES`, or "many" for
    the keys of a many_to_many. rules: the options of `Check`'s method of that kind. relation: where
    its keys lead. column: None for a "many". immutable: only a create gives it.
    """

    name: str
    kind: str
    rules: Mapping[str, Any] = MappingProxyType({})
    relation: Relation | None = None
    column: Column | None = None
    immutable: bool = False

    @property
    def required(self) -> bool:
        """Whether it must not stay empty."""
        return bool(self.rules.get("required"))

    @property
    def is_box(self) -> bool:
        """Whether its input is a check box, which is on or off."""
        return self.kind == "bool" and self.required

    @property
    def choices(self) -> tuple[str, ...]:
        """What an enum may be; () for other kinds."""
        return self.column.choices if self.column else ()

    @property
    def label(self) -> str:
        """Its name for people, in the current language."""
        return text(self.column.label) if self.column and self.column.label else self._plain()

    @property
    def help(self) -> str:
        """A sentence about it, in the current language; "" for none."""
        said = text(self.column.help) if self.column else ""
        if self.kind == "datetime":
            zone = text("Time zone: {zone}", zone=current_identity().time_zone)
            said = " ".join(filter(None, [said, zone]))
        return said

    @property
    def placeholder(self) -> str:
        """What an empty input shows."""
        return text(self.column.placeholder) if self.column else ""

    def is_given(self) -> bool:
        """Whether the current identity may see and write it."""
        who, column = current_identity(), self.column
        rules = (column.visible_to, column.writable_by) if column else ()
        return all(not roles or who.has_one_of(roles) for roles in rules)

    def value(self, row: Any) -> Any:
        """What a row has in its column."""
        assert self.column is not None
        return getattr(row, self.column.attribute or self.column.name)

    def _plain(self) -> str:
        return words(self.relation.name if self.relation else self.name)


def words(name: str) -> str:
    """A snake name as people write it, in the current language: gen/messages.pot has it."""
    return text(humanize(name))


def given_fields(resource: Resource[Any]) -> tuple[Field, ...]:
    """What the data of a create may have, in the order of the schema."""
    columns = {c.name: c for c in resource.columns}
    leads = {r.column if r.kind == "belongs_to" else r.field: r for r in resource.relations}
    return tuple(
        Field(
            name,
            kind,
            rules,
            leads.get(name),
            columns.get(name),
            immutable=name == resource.key.name or name in columns and columns[name].immutable,
        )
        for name, (kind, rules) in rules_of(resource.check).items()
    )


def shown_fields(resource: Resource[Any]) -> tuple[Field, ...]:
    """Every column, as something that is shown; then the many_to_many."""
    leads = {r.column: r for r in resource.relations if r.kind == "belongs_to"}
    found = [Field(c.name, c.type, {}, leads.get(c.name), c) for c in resource.columns]
    links = [r for r in resource.relations if r.field]
    return (*found, *(Field(r.field, "many", {}, r) for r in links))
