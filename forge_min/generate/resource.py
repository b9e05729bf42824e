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
from .resource_model import Shape, constraints_of, operators, transition_steps
from .templating import block, common, imports, lines, render_template, wrap

# The options of a generated Column, in order. ColumnIR has them by the same names.
_COLUMN = (
    "filterable", "has_trigrams", "sortable", "aggregatable", "unique", "immutable", "choices",
    "visible_to", "writable_by", "personal", "attribute", "label", "help", "placeholder",
)  # fmt: skip
_FLAGS = (
    "timestamps", "soft_delete", "tenant_scoped", "auditable", "authored", "versioned",
    "searchable",
)  # fmt: skip
_MODULES: Mapping[str, str] = table(__package__, "templates/modules.toml")
HOOKS = ("after_create", "after_update", "after_delete")


def resource_files(shape: Shape) -> dict[str, str]:
    """Return the texts of the files of gen/<r>/ by name, without the factory."""
    templates = {
        "model.py": model(shape),
        "sql.py": _sql(shape),
        "resource.py": _resource(shape),
        "routes.py": {"more": _routes(shape.resource)},
        "actions.py": {},
        "__init__.py": {},
    }
    names = common(shape.resource)
    return {file: render_template(file, names | values) for file, values in templates.items()}


def _sql(shape: Shape) -> dict[str, str]:
    """Return the values of the template sql.py."""
    # The key is written, also if the schema does not declare it.
    key, *others = shape.columns
    names = []
    values = []
    rows = []
    arrays = []
    for column in [key, *(other for other in others if other.declared)]:
        row = name = f'"{column.column}"'
        kind = TYPES[column.type]["sql"]
        if column.is_array:
            # unnest would take a list of lists apart, so an array is a text here.
            row = f"{name}::{kind}"
            kind = "text"
        names.append(name)
        values.append(f"%({column.column})s")
        rows.append(row)
        arrays.append(f"%({column.column})s::{kind}[]")
    insert_rows = "forge_given.*"
    insert_names = ""
    if rows != names:
        insert_rows = wrap(rows)
        insert_names = f" (\n  {wrap(names)}\n)"
    insert_more = ""
    if shape.resource.tenant_scoped:
        names.append('"tenant_id"')
        values.append("%(forge_tenant)s")
        insert_more += ", %(forge_tenant)s::uuid"
    if shape.resource.authored:
        author = "nullif(%(forge_actor)s::text, '')"
        names.append('"created_by"')
        values.append(author)
        insert_more += f", {author}"
    return {
        "from": shape.source,
        "columns": wrap(f'"{column.column}"' for column in shape.columns),
        "insert_columns": wrap(names),
        "insert_values": wrap(values),
        "insert_rows": insert_rows,
        "insert_names": insert_names,
        "insert_arrays": ",\n  ".join(arrays),
        "insert_more": insert_more,
    }


def _resource(shape: Shape) -> dict[str, str]:
    """Return the values of the template resource.py."""
    r = shape.resource
    checks = [_check(column) for column in shape.written]
    for link in shape.across:
        key = link.target.key
        checks.append(_call("c.many", [link.field, key.type], max_len=key.longest))
    checks += map(_condition, r.checks)
    options = []
    if shape.source != r.table:
        options.append(f'source="{shape.source}"')
    options += [f"{flag}=True" for flag in _FLAGS if getattr(r, flag)]
    if shape.title:
        options.append(f"title={shape.title!r}")
    permissions = [f'"{p.operation}": {p.roles!r}' for p in r.permissions]
    locked = [f'"{states.name}": {dict(states.locked)!r}' for states in r.states if states.locked]
    blocks = [
        ("Relation", "relations=({})", map(_relation, shape.links)),
        ("Resource", "permissions={{{}}}", permissions),
        ("Resource", "locked={{{}}}", locked),
        ("DeclaredReport", "reports={{{}}}", map(_report, r.reports)),
        ("Rule", "rules={{{}}}", _rules(r)),
        ("Transition", "transitions=({})", _transitions(r)),
    ]
    for hook in HOOKS:
        jobs = getattr(r.hooks, hook)
        blocks.append(("JobHook", hook + "=({})", map(_job, jobs)))
    names = {"Check", "Column", "Resource"}
    for name, option, items in blocks:
        code = block(items, 4)
        if code:
            options.append(option.format(code))
            names.add(name)
    rules = [rule for column in shape.written for rule in column.rules.values()]
    decimal = ""
    if any(isinstance(rule, Decimal) for rule in rules):
        decimal = "from decimal import Decimal\n\n"
    columns = [f"{_column(column)}," for column in shape.columns]
    constraints = [f'"{name}": "{field}",' for name, field in constraints_of(shape).items()]
    return {
        "decimal": decimal,
        "imports": ", ".join(sorted(names)),
        "checks": lines(checks, 4),
        "column_items": lines(columns, 8),
        "constraints": lines(constraints, 8),
        "options": lines((f"{option}," for option in options), 4),
    }


def _column(column: ColumnIR) -> str:
    options = {name: getattr(column, name) for name in _COLUMN}
    if column.attribute == column.column:
        del options["attribute"]
    code = []
    if column.required:
        code.append("nullable=False")
    return _call("Column", [column.column, column.type], code, **options)


def _check(column: ColumnIR) -> str:
    """Return the line of the validator: the type's method, with the rules of the schema."""
    code = []
    if column.choices:
        code.append(repr(column.choices))
    if column.default is not None:
        code.append(f"default={column.default!r}")
    method = column.type.removesuffix("[]")
    names = [column.column]
    if column.is_array:
        names.append(method)
        method = "array"
    return _call(f"c.{method}", names, code, **column.rules, required=column.required)


def _relation(link: RelationEdge) -> str:
    names = [link.name, link.kind, link.target.table, link.column]
    options = {"join": link.join, "target_column": link.target_column, "field": link.field}
    key_type = link.target.key.type
    if link.join and key_type != "uuid":
        options["type"] = key_type
    if link.on_delete != "restrict":
        options["on_delete"] = link.on_delete
    return _call("Relation", names, **options)


def _rules(r: ResourceIR) -> Iterator[str]:
    """Yield the rules about several fields by the names of their constraints."""
    for rule in r.uniques:
        name = constraint_name(r.table, "_".join(rule.fields), "key")
        call = _call("Rule", [], [repr(rule.fields)], message=rule.message)
        yield f'"{name}": {call}'
    for name, check in check_names(r).items():
        fields = condition_fields(check.condition)
        call = _call("Rule", [], [repr(fields)], message=check.message, code="condition")
        yield f'"{name}": {call}'


def _report(report: Report) -> str:
    code = [repr(tuple(report.group)), repr(tuple(report.measures))]
    if report.filters:
        code.append(repr(report.filters))
    call = _call("DeclaredReport", [], code, chart=report.chart)
    return f'"{report.name}": {call}'


def _condition(check: RowCheck) -> str:
    """Return the line of the validator for a condition of several fields."""
    fields = condition_fields(check.condition)
    return _call("c.condition", [], [repr(fields), repr(check.condition), repr(check.message)])


def _transitions(r: ResourceIR) -> Iterator[str]:
    for states in r.states:
        for verb in states.verbs:
            steps = transition_steps(states, verb)
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
    arguments = [f'"{name}"' for name in names]
    arguments += code
    for name, value in options.items():
        if isinstance(value, Decimal):
            arguments.append(f'{name}=Decimal("{value}")')
        elif value is not False and value not in (None, "", ()):
            arguments.append(f"{name}={value!r}")
    return f"{function}({', '.join(arguments)})"


def _routes(r: ResourceIR) -> str:
    """Return the routes of the optional operations as code."""
    routes = []
    if r.soft_delete:
        routes.append(("POST", "{id}/restore", "api.restore", "restore"))
    if r.auditable:
        routes.append(("GET", "{id}/audit", "api.audit", "audit"))
    for states in r.states:
        for verb in states.verbs:
            routes.append(("POST", f"{{id}}/{verb}", f'api.transition("{verb}")', verb))
    if r.aggregatable:
        routes.append(("GET", "-/aggregate", "api.aggregate", "aggregate"))
    if r.reports:
        routes.append(("GET", "-/reports/{name}", "api.report", "report"))
    code = ""
    for method, path, handler, operation in routes:
        name = f"{r.table}.{operation}"
        code += f'        Route("{method}", path + "/{path}", {handler}, "{name}"),\n'
    return code


_WORD = re.compile(r"[A-Za-z]+")
Items = Sequence[tuple[str, str]]  # name, type
_ENCODERS = {"datetime": "iso_utc", "duration": "format_duration", "uuid": "uuid_text"}


def model(shape: Shape) -> dict[str, str]:
    """Return the values of the template model.py."""
    rows = []
    values = []
    encoders = set()
    for column in shape.columns:
        kind = TYPES[column.type]["row"]
        if column.optional:
            kind += " | None"
        rows.append((column.attribute, kind))
        values.append(f'"{column.column}": {_json_item(column)},')
        encoders.add(_ENCODERS.get(column.type, ""))
    creates = _input_items(shape, new=True)
    updates = _input_items(shape, new=False)
    filters = [item for name, column in shape.filters for item in _filters(name, column)]
    kinds = " ".join(kind for _, kind in [*rows, *creates, *updates, *filters])
    attributes = {attribute for attribute, _ in rows}
    named, statements = _types(set(_WORD.findall(kinds)), attributes)
    used = sorted(filter(None, encoders))
    if used:
        statements += ["", f"from forge_min.actions import {', '.join(used)}"]
    name = shape.resource.name
    return {
        "imports": "\n".join(statements) + "\n",
        "attributes": lines((f"{attribute}: {named(kind)}" for attribute, kind in rows), 4),
        "create": _dict(f"{name}Create", "The data of a create.", creates, named),
        "update": _dict(f"{name}Update", "The data of an update.", updates, named),
        "filters": block((f'"{key}": {named(kind)}' for key, kind in filters), 4),
        "items": lines(values, 8),
    }


def _input_items(shape: Shape, *, new: bool) -> Items:
    """Return the fields and types in the data of a create (`new`) or of an update."""
    items = []
    for column in shape.written:
        if column.immutable and not new:
            continue
        kind = TYPES[column.type]["input"]
        if not column.required and column.type != "json":
            kind += " | None"
        if new and column.needed:
            kind = f"Required[{kind}]"
        items.append((column.column, kind))
    for link in shape.across:
        kind = TYPES[link.target.key.type]["input"]
        items.append((link.field, f"Sequence[{kind}]"))
    return items


def _filters(name: str, column: ColumnIR) -> Items:
    """Return the filters of a column as in a query string, each with the type of its value."""
    plain = TYPES[column.type.removesuffix("[]")]["input"]
    kinds = {"in": f"Sequence[{plain}]", "is_null": "bool"}
    items = []
    if not column.is_array:
        items.append((name, plain))
    for operator in operators(column):
        items.append((f"{name}[{operator}]", kinds.get(operator, plain)))
    return items


def _types(words: set[str], columns: set[str]) -> tuple[Callable[[str], str], list[str]]:
    """Return a function that writes types into annotations, and the imports of the types.

    A type with the name of a column is imported with a capital letter (Date, Str), because column
    names have none.
    """
    names = {}
    pairs = [("dataclasses", "dataclass"), ("typing", "TypedDict")]
    for word in words - {"None"}:
        if word in columns:
            names[word] = word.capitalize()
            pairs.append((_MODULES.get(word, "builtins"), f"{word} as {names[word]}"))
        elif word in _MODULES:
            pairs.append((_MODULES[word], word))

    def named(kind: str) -> str:
        return _WORD.sub(lambda match: names.get(match[0], match[0]), kind)

    return named, imports(pairs)


def _dict(name: str, doc: str, items: Items, named: Callable[[str], str]) -> str:
    """Return a TypedDict, as a call if a key is a keyword of Python."""
    if any(keyword.iskeyword(key) for key, _ in items):
        fields = block((f'"{key}": {named(kind)}' for key, kind in items), 4)
        return f'{name} = TypedDict(\n    "{name}",\n    {{{fields}}},\n    total=False,\n)'
    code = f'class {name}(TypedDict, total=False):\n    """{doc}"""'
    if items:
        code += "\n\n" + lines((f"{key}: {named(kind)}" for key, kind in items), 4)
    return code


def _json_item(column: ColumnIR) -> str:
    value = f"row.{column.attribute}"
    encoded: str = TYPES[column.type].get("json", "{}").format(value)
    if column.optional and encoded != value:
        return f"None if {value} is None else {encoded}"
    return encoded


def factory(shape: Shape, resources: Mapping[str, ResourceIR]) -> str:
    """Return the text of factory.py. resources: all of the project by name."""
    items = []
    pairs = [("typing", "Any")]
    for column in shape.written:
        if not column.needed:
            continue
        value = _value(column, shape.resource, resources)
        if not value:
            items.append(f"# {column.column}: to be given")
            continue
        items.append(f'"{column.column}": {value},')
        if "value" in TYPES[column.type] or column.type == "decimal":
            names = re.findall(r"\w+", value)
            pairs += [(_MODULES[name], name) for name in names if name in _MODULES]
    values = common(shape.resource)
    values["imports"] = "\n".join(imports(pairs))
    values["items"] = ""
    if items:
        values["items"] = f"\n{lines(items, 12)}\n        "
    return render_template("factory.py", values)


def _value(column: ColumnIR, resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> str:
    """Return an expression of n, different for each n if possible; "" if no rule determines one."""
    about = TYPES[column.type]
    if column.pattern is not None or column.target == resource.name:
        return ""
    if column.target:
        return f'self.related("{resources[column.target].table}")'
    limit = column.min or column.max
    if isinstance(limit, str):
        if is_relative(limit) or column.unique:
            return ""
        return repr(limit)
    if column.type == "bool" and column.unique:
        return "n % 2 == 1"
    if "value" in about:
        return str(about["value"])
    if column.type == "enum":
        if column.unique:
            return f"{column.choices!r}[n % {len(column.choices)}]"
        return repr(column.choices[0])
    if "around" in about:
        return _text(column, *about["around"])
    return _number(column)


def _number(field: ColumnIR) -> str:
    """Return an expression of n within the limits of a field of numbers."""
    largest = 1 << 31
    if field.type != "float":
        largest = TYPES[field.type]["limits"]["max"][1]
    if field.precision:
        digits, scale = field.precision
        largest = 10 ** (digits - scale) - 1
        if digits == scale and field.min is None and field.max is None:
            return f"Decimal(n % {10**scale}).scaleb(-{scale})"
    high = largest
    if field.max is not None:
        high = min(floor(field.max), largest)
    low = min(1, high)
    if field.min is not None:
        low = max(ceil(field.min), -largest)
    value = f"n % {high - low + 1}"
    if low:
        value = f"{low} + {value}"
    if low > high:  # no whole number is between two fractions
        value = f'"{field.min}"' if field.type == "decimal" else repr(field.min)
    if field.type == "decimal":
        return f"Decimal({value})"
    return value


def _text(field: ColumnIR, before: str, after: str) -> str:
    """Return an expression of the field's name and n, or only n if that is too long."""
    between = " " if before == "{} " else "-"
    words = re.sub("_+", between, field.name[:30]).strip(between)
    before = before.format(words)
    length = len(before) + len(after)
    longest = field.longest
    shortest = field.min_len or 0
    if longest is None or length + 9 <= longest:
        width = shortest - length
        if field.type == "email" and len(before) + max(width, 9) > 64:
            return ""
        width_code = f":0{width}" if width > 1 else ""
        return f'f"{before}{{n{width_code}}}{after}"'
    if field.type in ("email", "url"):
        return ""
    width = max(shortest, min(longest, 6))
    return f'f"{{n:0{width}}}"[-{longest}:]'
