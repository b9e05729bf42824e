"""gen/<r>/: the statements of a resource, and the resource as data."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ...parse.ir import ColumnIR, ResourceIR
from ...parse.links import Link
from ...schema import JobRef
from .fill import block, common, fill, lines, wrap
from .model import model
from .shape import KINDS, Shape, constraints_of

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
        "columns": wrap(f'"{c.column}"' for c in shape.columns),
        "insert_columns": wrap([f'"{c.column}"' for c in written] + ['"tenant_id"'] * tenant),
        "insert_values": wrap([f"%({c.column})s" for c in written] + ["%(forge_tenant)s"] * tenant),
        "insert_arrays": ",\n  ".join(f"%({c.column})s::{KINDS[c.type].sql}[]" for c in written),
        "insert_tenant": ", %(forge_tenant)s::uuid" * tenant,
    }


def _resource(shape: Shape) -> dict[str, str]:
    r = shape.resource
    checks = [_check(column) for column in shape.written]
    for link in shape.across:
        key = link.target.key
        checks.append(_call("c.many", [link.field, key.type], max_len=key.longest))
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
    rules = [rule for column in shape.written for rule in column.rules.values()]
    exact = any(isinstance(rule, Decimal) for rule in rules)
    return {
        "decimal": "from decimal import Decimal\n\n" * exact,
        "imports": ", ".join(sorted(names)),
        "checks": lines(checks, 4),
        "column_items": lines((_column(c) + "," for c in shape.columns), 8),
        "constraints": lines((f'"{k}": "{v}",' for k, v in constraints_of(shape).items()), 8),
        "options": lines((option + "," for option in options), 4),
    }


def _column(column: ColumnIR) -> str:
    name, attribute = column.column, column.attribute
    return _call(
        "Column",
        [name, column.type],
        ["nullable=False"] * column.required,
        filterable=column.filterable,
        sortable=column.sortable,
        unique=column.unique,
        immutable=column.immutable,
        choices=column.choices,
        visible_to=column.visible_to,
        writable_by=column.writable_by,
        attribute="" if attribute == name else attribute,
        label=column.label,
        help=column.help,
        placeholder=column.placeholder,
    )


def _check(column: ColumnIR) -> str:
    """The line of the validator: the type's method, with the rules of the schema."""
    code = [repr(column.choices)] if column.choices else []
    code += [f"default={column.default!r}"] if column.default is not None else []
    name, required = column.column, column.required
    return _call(f"c.{column.type}", [name], code, **column.rules, required=required)


def _relation(link: Link) -> str:
    names = [link.name, link.kind, link.target.table, link.column]
    kind = link.target.key.type if link.join and link.target.key.type != "uuid" else ""
    more = {"join": link.join, "target_column": link.target_column, "field": link.field}
    rule = "" if link.on_delete == "restrict" else link.on_delete
    return _call("Relation", names, **more, type=kind, on_delete=rule)


def _job(job: JobRef) -> str:
    options = {"max_attempts": job.max_attempts, "delay": job.delay or None, "unique": job.unique}
    return _call("JobHook", [job.kind, job.queue], [f"priority={job.priority}"], **options)


def _call(
    function: str, names: Sequence[str], code: Sequence[str] = (), /, **options: object
) -> str:
    """A call as code: names go into quotes, code stays; options that are None, False or empty are
    left out.
    """
    shown = [f'"{name}"' for name in names] + list(code)
    for name, value in options.items():
        if value is not False and value not in (None, "", ()):
            exact = isinstance(value, Decimal)
            shown.append(f'{name}=Decimal("{value}")' if exact else f"{name}={value!r}")
    return f"{function}({', '.join(shown)})"


def _routes(r: ResourceIR) -> str:
    more = [("POST", "restore")] * r.soft_delete + [("GET", "audit")] * r.auditable
    return "".join(
        f'        Route("{method}", path + "/{{id}}/{word}", api.{word}, "{r.table}.{word}"),\n'
        for method, word in more
    )
