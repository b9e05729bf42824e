"""The files of gen/<r>/: SQL statements, the resource as data, row classes, the test factory."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from math import ceil, floor

from ..parse import (
    TYPES,
    ColumnIR,
    RelationEdge,
    ResourceIR,
    check_names,
    condition_fields,
    constraint_name,
)
from ..resources import table
from ..schema import JobRef, Report, RowCheck
from ..temporal import is_relative
from .resource_model import Shape, constraints_of, operators
from .templating import block, common, imports, lines, render_template, wrap

# The options of a generated Column, in order. ColumnIR has them by the same names.
_COLUMN = ["filterable", "has_trigrams", "sortable", "aggregatable", "unique", "immutable"]
_COLUMN += ["choices", "visible_to", "writable_by", "personal", "attribute", "label", "help"]
_COLUMN += ["placeholder"]
_FLAGS = ["timestamps", "soft_delete", "tenant_scoped", "auditable", "authored", "versioned"]
_FLAGS += ["searchable"]
_MODULES: Mapping[str, str] = table(__package__, "templates/modules.toml")
_HOOKS = ("after_create", "after_update", "after_delete")


def resource_files(shape: Shape) -> dict[str, str]:
    """Return the texts of the files of gen/<r>/ by name, without the factory."""
    values = {"model.py": model(shape), "sql.py": _sql(shape), "resource.py": _resource(shape)}
    values |= {"routes.py": {"more": _routes(shape.resource)}, "actions.py": {}, "__init__.py": {}}
    names = common(shape.resource)
    return {name: render_template(name, names | own) for name, own in values.items()}


def _sql(shape: Shape) -> dict[str, str]:
    # The key is written, also if the schema does not declare it.
    written = [shape.columns[0], *(c for c in shape.written if c is not shape.columns[0])]
    tenant, authored = shape.resource.tenant_scoped, shape.resource.authored
    more = ['"tenant_id"'] * tenant + ['"created_by"'] * authored
    author = ["nullif(%(forge_actor)s::text, '')"] * authored
    names = wrap(f'"{c.column}"' for c in written)
    # unnest would take a list of lists apart, so an array is a text here.
    sql = {c.column: TYPES[c.type]["sql"] for c in written}
    rows = wrap(f'"{c.column}"' + f"::{sql[c.column]}" * c.is_array for c in written)
    packed = sql | {c.column: "text" for c in written if c.is_array}
    return {
        "from": shape.source,
        "columns": wrap(f'"{c.column}"' for c in shape.columns),
        "insert_columns": wrap([f'"{c.column}"' for c in written] + more),
        "insert_values": wrap(
            [f"%({c.column})s" for c in written] + ["%(forge_tenant)s"] * tenant + author
        ),
        "insert_rows": "forge_given.*" if rows == names else rows,
        "insert_names": f" (\n  {names}\n)" * (rows != names),
        "insert_arrays": ",\n  ".join(f"%({n})s::{kind}[]" for n, kind in packed.items()),
        "insert_more": "".join(f", {v}" for v in ["%(forge_tenant)s::uuid"] * tenant + author),
    }


def _resource(shape: Shape) -> dict[str, str]:
    r = shape.resource
    checks = [_check(column) for column in shape.written]
    for link in shape.across:
        key = link.target.key
        checks.append(_call("c.many", [link.field, key.type], max_len=key.longest))
    checks += map(_condition, r.checks)
    options = [f"{flag}=True" for flag in _FLAGS if getattr(r, flag)]
    if shape.source != r.table:
        options.insert(0, f'source="{shape.source}"')
    if shape.title:
        options.append(f"title={shape.title!r}")
    permissions = (f'"{p.operation}": {p.roles!r}' for p in r.permissions)
    locked = (f'"{states.name}": {dict(states.locked)!r}' for states in r.states if states.locked)
    blocks = [
        ("Relation", "relations=({})", map(_relation, shape.links)),
        ("Resource", "permissions={{{}}}", permissions),
        ("Resource", "locked={{{}}}", locked),
        ("DeclaredReport", "reports={{{}}}", map(_report, r.reports)),
        ("Rule", "rules={{{}}}", _rules(r)),
        ("Transition", "transitions=({})", _transitions(r)),
        *(("JobHook", hook + "=({})", map(_job, getattr(r.hooks, hook))) for hook in _HOOKS),
    ]
    names = {"Check", "Column", "Resource"}
    for name, option, items in blocks:
        if inside := block(items, 4):
            options.append(option.format(inside))
            names.add(name)
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
    options = {name: getattr(column, name) for name in _COLUMN}
    if column.attribute == column.column:
        del options["attribute"]
    required = ["nullable=False"] * column.required
    return _call("Column", [column.column, column.type], required, **options)


def _check(column: ColumnIR) -> str:
    """Return the line of the validator: the type's method, with the rules of the schema."""
    code = [repr(column.choices)] if column.choices else []
    code += [f"default={column.default!r}"] if column.default is not None else []
    kind, required = column.type.removesuffix("[]"), column.required
    method, names = ("array", [column.column, kind]) if column.is_array else (kind, [column.column])
    return _call(f"c.{method}", names, code, **column.rules, required=required)


def _relation(link: RelationEdge) -> str:
    names = [link.name, link.kind, link.target.table, link.column]
    kind = link.target.key.type if link.join and link.target.key.type != "uuid" else ""
    more = {"join": link.join, "target_column": link.target_column, "field": link.field}
    rule = "" if link.on_delete == "restrict" else link.on_delete
    return _call("Relation", names, **more, type=kind, on_delete=rule)


def _rules(r: ResourceIR) -> Iterator[str]:
    """Yield the rules about several fields by the names of their constraints."""
    for rule in r.uniques:
        name = constraint_name(r.table, "_".join(rule.fields), "key")
        yield f'"{name}": ' + _call("Rule", [], [repr(rule.fields)], message=rule.message)
    for name, check in check_names(r).items():
        code = [repr(condition_fields(check.condition))]
        call = _call("Rule", [], code, message=check.message, code="condition")
        yield f'"{name}": {call}'


def _report(report: Report) -> str:
    code = [repr(tuple(names)) for names in (report.group, report.measures)]
    filters = [repr(report.filters)] if report.filters else []
    call = _call("DeclaredReport", [], code + filters, chart=report.chart)
    return f'"{report.name}": {call}'


def _condition(check: RowCheck) -> str:
    """Return the line of the validator for a condition of several fields."""
    fields = condition_fields(check.condition)
    return _call("c.condition", [], [repr(fields), repr(check.condition), repr(check.message)])


def _transitions(r: ResourceIR) -> Iterator[str]:
    for states in r.states:
        for verb in states.verbs:
            steps = {s: verbs[verb] for s, verbs in states.transitions.items() if verb in verbs}
            excluded = ", ".join(states.excluded.get(verb, ()))
            options = {"needs_reason": verb in states.reason, "not_by": excluded}
            yield _call("Transition", [verb, states.name], [repr(steps)], **options)


def _job(job: JobRef) -> str:
    options = {"max_attempts": job.max_attempts, "delay": job.delay or None, "unique": job.unique}
    return _call("JobHook", [job.kind, job.queue], [f"priority={job.priority}"], **options)


def _call(
    function: str, names: Sequence[str], code: Sequence[str] = (), /, **options: object
) -> str:
    """Return a call as code.

    names: arguments that are written as quoted strings.
    code: arguments that are written unchanged.
    options: keyword arguments; those that are None, False or empty are omitted.
    """
    shown = [f'"{name}"' for name in names] + list(code)
    for name, value in options.items():
        if value is not False and value not in (None, "", ()):
            exact = isinstance(value, Decimal)
            shown.append(f'{name}=Decimal("{value}")' if exact else f"{name}={value!r}")
    return f"{function}({', '.join(shown)})"


def _routes(r: ResourceIR) -> str:
    more = [("POST", "restore")] * r.soft_delete + [("GET", "audit")] * r.auditable
    routes = [(method, f"{{id}}/{word}", f"api.{word}", word) for method, word in more]
    verbs = [verb for states in r.states for verb in states.verbs]
    routes += [("POST", f"{{id}}/{verb}", f'api.transition("{verb}")', verb) for verb in verbs]
    routes += [("GET", "-/aggregate", "api.aggregate", "aggregate")] * r.aggregatable
    routes += [("GET", "-/reports/{name}", "api.report", "report")] * bool(r.reports)
    return "".join(
        f'        Route("{method}", path + "/{path}", {handler}, "{r.table}.{word}"),\n'
        for method, path, handler, word in routes
    )


_WORD = re.compile(r"[A-Za-z]+")
Items = Sequence[tuple[str, str]]  # name, type


def model(shape: Shape) -> dict[str, str]:
    """Return the values of the template model.py."""
    name, columns = shape.resource.name, shape.columns
    rows = [(c.attribute, TYPES[c.type]["row"] + " | None" * c.optional) for c in columns]
    creates, updates = _input_items(shape, new=True), _input_items(shape, new=False)
    filters = [item for name, column in shape.filters for item in _filters(name, column)]
    written = " ".join(kind for _, kind in [*rows, *creates, *updates, *filters])
    named, statements = _types(set(_WORD.findall(written)), {c.attribute for c in columns})
    encoders = {"datetime": "iso_utc", "duration": "format_duration", "uuid": "uuid_text"}
    if used := sorted({encoders[c.type] for c in columns if c.type in encoders}):
        statements += ["", f"from forge_min.actions import {', '.join(used)}"]
    return {
        "imports": "\n".join(statements) + "\n",
        "attributes": lines((f"{attribute}: {named(kind)}" for attribute, kind in rows), 4),
        "create": _dict(name + "Create", "The data of a create.", creates, named),
        "update": _dict(name + "Update", "The data of an update.", updates, named),
        "filters": block((f'"{key}": {named(kind)}' for key, kind in filters), 4),
        "items": lines((f'"{c.column}": {_json_item(c)},' for c in columns), 8),
    }


def _input_items(shape: Shape, *, new: bool) -> Items:
    """Return the fields and types in the data of a create (`new`) or of an update."""
    items = []
    for column in shape.written:
        if new or not column.immutable:
            null = not column.required and column.type != "json"
            kind = TYPES[column.type]["input"] + " | None" * null
            items.append((column.column, f"Required[{kind}]" if new and column.needed else kind))
    for link in shape.across:
        kind = TYPES[link.target.key.type]["input"]
        items.append((link.field, f"Sequence[{kind}]"))
    return items


def _filters(name: str, column: ColumnIR) -> Items:
    """Return the filters of a column as in a query string, each with the type of its value."""
    plain = TYPES[column.type.removesuffix("[]")]["input"]
    kinds = {"in": f"Sequence[{plain}]", "contains": plain, "is_null": "bool"}
    items = [(name, plain)] * (not column.is_array)
    for operator in operators(column):
        items.append((f"{name}[{operator}]", kinds.get(operator, plain)))
    return items


def _types(words: set[str], columns: set[str]) -> tuple[Callable[[str], str], list[str]]:
    """Return a function that writes types into annotations, and the imports of the types.

    A type with the name of a column is imported with a capital letter (Date, Str), because column
    names have none.
    """
    names = {word: word.capitalize() if word in columns else word for word in words - {"None"}}
    pairs = [("dataclasses", "dataclass"), ("typing", "TypedDict")]
    for word, name in names.items():
        if word in columns or word in _MODULES:
            shown = f"{word} as {name}" if word in columns else word
            pairs.append((_MODULES.get(word, "builtins"), shown))

    def named(kind: str) -> str:
        return _WORD.sub(lambda match: names.get(match[0], match[0]), kind)

    return named, imports(pairs)


def _dict(name: str, doc: str, items: Items, named: Callable[[str], str]) -> str:
    """Return a TypedDict, as a call if a key is a keyword of Python."""
    if any(keyword.iskeyword(key) for key, _ in items):
        inside = block((f'"{key}": {named(kind)}' for key, kind in items), 4)
        return f'{name} = TypedDict(\n    "{name}",\n    {{{inside}}},\n    total=False,\n)'
    inside = "\n\n" + lines((f"{key}: {named(kind)}" for key, kind in items), 4) if items else ""
    return f'class {name}(TypedDict, total=False):\n    """{doc}"""{inside}'


def _json_item(column: ColumnIR) -> str:
    value = f"row.{column.attribute}"
    shown = TYPES[column.type].get("json", "{}").format(value)
    return f"None if {value} is None else {shown}" if column.optional and shown != value else shown


def factory(shape: Shape, resources: Mapping[str, ResourceIR]) -> str:
    """Return the text of factory.py. resources: all of the project by name."""
    items, pairs = [], [("typing", "Any")]
    for column in shape.written:
        if column.needed:
            value = _value(column, shape.resource, resources)
            items.append(
                f'"{column.column}": {value},' if value else f"# {column.column}: to be given"
            )
            if value and ("value" in TYPES[column.type] or column.type == "decimal"):
                names = re.findall(r"\w+", value)
                pairs += [(_MODULES[name], name) for name in names if name in _MODULES]
    inside = f"\n{lines(items, 12)}\n        " if items else ""
    values = {"imports": "\n".join(imports(pairs)), "items": inside}
    return render_template("factory.py", common(shape.resource) | values)


def _value(column: ColumnIR, resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> str:
    """Return an expression of n, different for each n if possible; "" if no rule determines one."""
    about = TYPES[column.type]
    if column.target:
        target = resources[column.target]
        return "" if target is resource else f'self.related("{target.table}")'
    if column.pattern is not None:
        return ""
    if isinstance(limit := column.min or column.max, str):
        return "" if is_relative(limit) or column.unique else repr(limit)
    if "value" in about:
        return "n % 2 == 1" if column.type == "bool" and column.unique else str(about["value"])
    if column.type == "enum":
        several = f"{column.choices!r}[n % {len(column.choices)}]"
        return several if column.unique else repr(column.choices[0])
    return _text(column, *about["around"]) if "around" in about else _number(column)


def _number(field: ColumnIR) -> str:
    most = 1 << 31 if field.type == "float" else TYPES[field.type]["limits"]["max"][1]
    if field.precision:
        digits, after = field.precision
        most = 10 ** (digits - after) - 1
        if digits == after and field.min is None and field.max is None:
            return f"Decimal(n % {10**after}).scaleb(-{after})"
    high = most if field.max is None else min(floor(field.max), most)
    low = min(1, high) if field.min is None else max(ceil(field.min), -most)
    if low > high:  # no whole number is between two fractions
        return f'Decimal("{field.min}")' if field.type == "decimal" else repr(field.min)
    value = f"{low} + n % {high - low + 1}" if low else f"n % {high + 1}"
    return f"Decimal({value})" if field.type == "decimal" else value


def _text(field: ColumnIR, before: str, after: str) -> str:
    """Return an expression of the field's name and n, or only n if that is too long."""
    between = " " if before == "{} " else "-"
    before = before.format(re.sub("_+", between, field.name[:30]).strip(between))
    most, least = field.longest, field.min_len or 0
    if most is None or len(before) + len(after) + 9 <= most:
        width = least - len(before) - len(after)
        long = field.type == "email" and len(before) + max(width, 9) > 64
        return "" if long else f'f"{before}{{n{f":0{width}" if width > 1 else ""}}}{after}"'
    if field.type in ("email", "url"):
        return ""
    return f'f"{{n:0{max(least, min(most, 6))}}}"[-{most}:]'
