"""The fields of a resource as pages show and edit them: names, labels and rules, without HTML.

The rules are those of the generated validator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from ..actions import Actions, Column, Relation, Resource, rules_of
from ..i18n import humanize, text
from ..wsgi import user_zone

AnyActions: TypeAlias = Actions[Any, Any, Any]
Texts = Mapping[str, Sequence[str]]
"""Field → the texts of its inputs; a "many" may have several."""


class FormField(NamedTuple):
    """One field of a form or page.

    name: in JSON.
    kind: a name of `actions.values.TYPES`, or "many" for the keys of a many_to_many.
    rules: the options of `Check`'s method of that kind.
    relation: the relation that has the values as its keys.
    column: None for a "many".
    immutable: whether only a create can set it.
    """

    name: str
    kind: str
    rules: Mapping[str, Any] = MappingProxyType({})
    relation: Relation | None = None
    column: Column | None = None
    immutable: bool = False

    @property
    def required(self) -> bool:
        """Whether a value is required."""
        return bool(self.rules.get("required"))

    @property
    def is_box(self) -> bool:
        """Whether the input is a check box: on or off, never empty."""
        return self.kind == "bool" and self.required

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an enum; () for other kinds."""
        return self.column.choices if self.column else ()

    @property
    def label(self) -> str:
        """The label in the current language."""
        if self.column and self.column.label:
            return text(self.column.label)
        if self.relation:
            return label_of(self.relation.name)
        name = self.name.partition("[")[0]  # without an operator
        return label_of(name)

    @property
    def help(self) -> str:
        """The help sentence in the current language, "" without one."""
        sentences = []
        if self.column and self.column.help:
            sentences.append(text(self.column.help))
        if self.kind == "datetime":
            sentences.append(text("Time zone: {zone}", zone=user_zone()))
        elif self.kind in ("string[]", "int[]"):
            sentences.append(text("One value per line."))
        return " ".join(sentences)

    @property
    def placeholder(self) -> str:
        """The placeholder of an empty input."""
        placeholder = ""
        if self.column:
            placeholder = text(self.column.placeholder)
        if self.kind == "duration":
            placeholder = placeholder or text("H:MM:SS")
        return placeholder

    def value(self, row: Any) -> Any:
        """Return the value of the field's column in a row."""
        assert self.column is not None
        return self.column.value_of(row)


Fields: TypeAlias = Sequence[FormField]


def label_of(name: str) -> str:
    """Return a snake_case name as words of the current language (from gen/messages.pot)."""
    return text(humanize(name))


def input_fields(resource: Resource[Any]) -> tuple[FormField, ...]:
    """Return the fields that a create accepts, in the order of the schema, without states."""
    states = {transition.column for transition in resource.transitions}
    columns = resource.by_name
    relations = {}
    for relation in resource.relations:
        name = relation.field
        if relation.kind == "belongs_to":
            name = relation.column
        relations[name] = relation
    fields = []
    for name, (kind, rules) in rules_of(resource.check).items():
        if name in states:
            continue
        immutable = name == resource.key.name
        column = columns.get(name)
        if column is not None:
            kind = column.type
            immutable = immutable or column.immutable
        fields.append(FormField(name, kind, rules, relations.get(name), column, immutable))
    return tuple(fields)


def display_fields(resource: Resource[Any]) -> tuple[FormField, ...]:
    """Return every column as a field, then the many_to_many relations."""
    relations = {r.column: r for r in resource.relations if r.kind == "belongs_to"}
    fields = [FormField(c.name, c.type, {}, relations.get(c.name), c) for c in resource.columns]
    many = [FormField(r.field, "many", {}, r) for r in resource.relations if r.field]
    return (*fields, *many)
