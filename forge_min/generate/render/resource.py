"""gen/<r>/: the statements of a resource, and the resource as data."""

from __future__ import annotations

from ...parse.ir import FieldIR, JobRefIR, ResourceIR
from ...parse.links import Link
from .fill import block, common, fill, lines, wrap
from .model import model
from .shape import Column, Shape, constraints_of

_RULES = ("pattern", "precision", "min", "max", "min_len", "max_len")
_FLAGS = ("timestamps", "soft_delete", "tenant_scoped", "auditable", "versioned", "searchable")
_HOOKS = ("after_create", "after_update", "after_delete")


def resource_files(shape: Shape) -> dict[str, str]:
    """File name → text of gen/<r>/, without the factory."""
    made = {"model.py": model(shape), "sql.py": _sql(shape), "resource.py": _resource(shape)}
    made |= {"routes.py": {"more": _routes(shape.resource)}, "actions.py": {}, "__init__.py": {}}
    return {name: fill(name, common(shape.resource) | words) for name, words in made.items()}


def _sql(shape: Shape) -> dict[str, str]:
    # The key is written even where it is the one that every resource has.
    written = [shape.columns[0], *(c for c in shape.written if c is not shape.columns[0])]
    tenant = shape.resource.tenant_scoped
    return {
        "from": shape.source,
        "columns": wrap(f'"{c.name}"' for c in shape.columns),
        "insert_columns": wrap([f'"{c.name}"' for c in written] + ['"tenant_id"'] * tenant),
        "insert_values": wrap([f"%({c.name})s" for c in written] + ["%(forge_tenant)s"] * tenant),
        "insert_arrays": ",\n  ".join(f"%({c.name})s::{c.kind.sql}[]" for c in written),
        "insert_tenant": ", %(forge_tenant)s::uuid" * tenant,
    }


def _resource(shape: Shape) -> dict[str, str]:
    r = shape.resource
    checks = [_check(column) for column in shape.written]
    checks += [f'c.many("{link.field}", "{link.target.key.type}")' for link in shape.across]
    options = [f"{flag}=True" for flag in _FLAGS if getattr(r, flag)]
    if shape.source != r.table:
        options.insert(0, f'source="{shape.source}"')
    if shape.links:
        options.append(f"relations=({block(map(_relation, shape.links), 4)})")
    if r.permissions:
        who = (f'"{p.operation}": {p.roles!r}' for p in r.permissions)
        options.append(f"permissions={{{block(who, 4)}}}")
    for hook in _HOOKS:
        if jobs := getattr(r.hooks, hook):
            options.append(f"{hook}=({block(map(_job, jobs), 4)})")
    names = ["Check", "Column", "Resource"]
    names += ["JobHook"] * bool(r.hooks.all) + ["Relation"] * bool(shape.links)
    return {
        "imports": ", ".join(sorted(names)),
        "checks": lines(checks, 4),
        "column_items": lines((_column(c) + "," for c in shape.columns), 8),
        "constraints": lines((f'"{k}": "{v}",' for k, v in constraints_of(shape).items()), 8),
        "options": lines((option + "," for option in options), 4),
    }


def _column(column: Column) -> str:
    member = column.member
    given: dict[str, object] = {
        "filterable": column.filterable,
        "sortable": column.sortable,
        "unique": column.is_key or (member and member.unique),
        "immutable": column.fixed,
        "choices": getattr(member, "choices", ()),
        "visible_to": getattr(member, "visible_to", ()),
        "writable_by": getattr(member, "writable_by", ()),
        "attribute": column.attribute if column.attribute != column.name else "",
    }
    shown = [f"{name}={value!r}" for name, value in given.items() if value]
    names = [f'"{column.name}"', f'"{column.type}"', *["nullable=False"] * (not column.nullable)]
    return f"Column({', '.join(names + shown)})"


def _check(column: Column) -> str:
    """The line of the validator: the type's method, with the rules of the schema."""
    field = column.member
    arguments, rules = [f'"{column.name}"'], {}
    if isinstance(field, FieldIR):
        arguments += [repr(field.choices)] if field.choices else []
        rules = {rule: getattr(field, rule) for rule in _RULES}
        rules["max_len"] = field.max_len or column.kind.longest
    shown = [f"{name}={value!r}" for name, value in rules.items() if value is not None]
    if isinstance(field, FieldIR) and field.has_default:
        shown.append(f"default={field.default!r}")
    if not column.nullable:
        shown.append("required=True")
    return f"c.{column.type}({', '.join(arguments + shown)})"


def _relation(link: Link) -> str:
    arguments = [f'"{word}"' for word in (link.name, link.kind, link.target.table, link.column)]
    if link.join:
        arguments += [f'join="{link.join}"', f'target_column="{link.target_column}"']
        arguments.append(f'field="{link.field}"')
        if link.target.key.type != "uuid":
            arguments.append(f'type="{link.target.key.type}"')
    return f"Relation({', '.join(arguments)})"


def _job(job: JobRefIR) -> str:
    arguments = [f'"{job.kind}"', f'"{job.queue}"', f"priority={job.priority}"]
    arguments += [f"max_attempts={job.max_attempts}"] * (job.max_attempts is not None)
    arguments += [f"delay={job.delay}"] * bool(job.delay) + ["unique=True"] * job.unique
    return f"JobHook({', '.join(arguments)})"


def _routes(r: ResourceIR) -> str:
    more = [("POST", "restore")] * r.soft_delete + [("GET", "audit")] * r.auditable
    return "".join(
        f'        Route("{method}", path + "/{{id}}/{word}", api.{word}, "{r.table}.{word}"),\n'
        for method, word in more
    )
