"""One schema file as one checked definition; what can be wrong within a file is found here."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import PurePosixPath

from .diagnostic import quote
from .evaluate import Call, Evaluator, Literal
from .ir import ResourceIR, Span
from .lower import lower, run
from .names import (
    LIST_PARAMETERS,
    field_problem,
    kind_problem,
    plural,
    queue_problem,
    resource_problem,
    snake,
    table_problem,
)
from .signature import FIELD_TYPES
from .source import Refused, Source
from .values import check_field, check_number

_HOOKS = ("after_create", "after_update", "after_delete")
_EXAMPLE = 'country = schema.define("Country", schema.string("code"))'


@dataclass(frozen=True, slots=True)
class Definition:
    """A schema.define(...) as far as it could be read. name, table: "" where they could not."""

    source: Source
    call: Call
    name: str
    table: str

    @property
    def relations(self) -> tuple[Call, ...]:
        """The calls of belongs_to."""
        return tuple(part for part in _calls(self.call) if part.function == "belongs_to")

    def resource(self) -> ResourceIR:
        """The IR. Only for a definition of a file without diagnostics."""
        spans = tuple(part.place("name") for part in _calls(self.call))
        return lower(run(self.call), self.source.file, self.call.place("name"), spans)


def read_definition(source: Source) -> Definition | None:
    """The one definition of the file, checked; everything that is wrong is reported to `source`."""
    try:
        body = source.tree().body
    except Refused:
        return None
    calls = _definitions(source, body)
    if not calls:
        if not source.diagnostics:
            source.report(source.top, "F110", "the file defines no resource", _EXAMPLE)
        return None
    for extra in calls[1:]:
        message = "the file defines a second resource"
        source.report(extra.span, "F111", message, "give it a folder of its own under resources/")
    return _check(source, calls[0])


def _definitions(source: Source, body: list[ast.stmt]) -> list[Call]:
    evaluator = Evaluator(source)
    found: list[Call] = []
    for at, statement in enumerate(body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            evaluator.bind_import(statement)
            continue
        value = _value(statement)
        if isinstance(value, ast.Call):
            call = evaluator.call(value)
            if call and call.function == "define":
                found.append(call)
                continue
            if call is None:
                continue
        elif at == 0 and isinstance(value, ast.Constant) and isinstance(value.value, str):
            continue
        message = "a schema file holds imports and one schema.define(...), nothing else"
        source.report(source.span(statement), "F103", message, _EXAMPLE)
    return found


def _value(statement: ast.stmt) -> ast.expr | None:
    """What a statement evaluates or gives to plain names; None for any other statement."""
    if isinstance(statement, ast.Expr):
        return statement.value
    if isinstance(statement, ast.Assign):
        named = all(isinstance(target, ast.Name) for target in statement.targets)
        return statement.value if named and isinstance(statement.value, ast.Call) else None
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.value if isinstance(statement.value, ast.Call) else None
    return None


def _calls(definition: Call) -> list[Call]:
    return [part for part in definition.parts if isinstance(part, Call)]


def _check(source: Source, call: Call) -> Definition:
    name = _check_name(source, call)
    table = _check_table(source, call, name)
    _check_members(source, call)
    for function in ("timestamps", "with_hooks"):
        for extra in [part for part in _calls(call) if part.function == function][1:]:
            source.report(extra.span, "F142", f"{function} is there twice", "leave one out")
    for part in _calls(call):
        if part.function == "with_hooks":
            _check_hooks(source, part)
    return Definition(source, call, name, table)


def _check_name(source: Source, call: Call) -> str:
    name = call.text("name")
    if name is None:
        return ""
    problem = resource_problem(name)
    if problem:
        source.report(call.place("name"), *problem)
        return ""
    folder = PurePosixPath(source.file).parent.name
    if folder != snake(name):
        message = f'the folder of "{name}" must be resources/{snake(name)}/'
        hint = f"rename resources/{folder}/ or the resource"
        source.report(call.place("name"), "F113", message, hint)
    return name


def _check_table(source: Source, call: Call, name: str) -> str:
    given = call.text("plural")
    if given is None and not name:
        return ""
    table = plural(snake(name)) if given is None else given
    problem = table_problem(table)
    if problem:
        source.report(call.place("name" if given is None else "plural"), *problem)
        return ""
    return table


def _check_members(source: Source, call: Call) -> None:
    seen: dict[str, Span] = {}
    for part in _calls(call):
        if part.function in FIELD_TYPES:
            check_field(source, part)
            names = _check_field_name(source, part)
        elif part.function == "belongs_to":
            names = _check_relation(source, part)
        else:
            continue
        _check_twice(source, part, names, seen)


def _check_twice(source: Source, part: Call, names: list[str], seen: dict[str, Span]) -> None:
    for name in names:
        if name in seen:
            message = f'"{name}" is there twice, first on line {seen[name].line}'
            source.report(part.place("name"), "F124", message, "rename one of them")
            return
    seen.update(dict.fromkeys(names, part.place("name")))


def _check_field_name(source: Source, field: Call) -> list[str]:
    name = field.text("name")
    if name is None:
        return []
    problem = field_problem(name)
    if problem:
        source.report(field.place("name"), *problem)
    filterable = field.get("filterable")
    if name in LIST_PARAMETERS and filterable and filterable.value:
        message = f'a filter "{name}" cannot be told from the list parameter of that name'
        source.report(filterable.span, "F121", message, "rename the field")
    return [name]


def _check_relation(source: Source, relation: Call) -> list[str]:
    required = relation.get("required")
    if required and required.value and relation.text("on_delete") == "set_null":
        message = "a required relation cannot be set to null"
        source.report(relation.place("on_delete"), "F141", message, 'use "restrict" or "cascade"')
    target = relation.text("target")
    name = relation.text("name")
    if target is not None and (problem := resource_problem(target)):
        source.report(relation.place("target"), *problem)
        return []
    if name is None and target is None:
        return []
    if name is None:
        name = snake(target or "")
    problem = field_problem(name, "_id") or field_problem(name)
    if problem:
        source.report(relation.place("name"), *problem)
    return [name, name + "_id"]


def _check_hooks(source: Source, part: Call) -> None:
    hooks = part.args.get("hooks")
    if not isinstance(hooks, Call):
        return
    for name in _HOOKS:
        jobs = hooks.args.get(name)
        for job in jobs.items if isinstance(jobs, Literal) else ():
            if isinstance(job, Call):
                _check_job(source, job)


def _check_job(source: Source, job: Call) -> None:
    kind, queue = job.text("kind"), job.text("queue")
    if kind is not None and (problem := kind_problem(kind)):
        source.report(job.place("kind"), *problem)
    if queue is not None and (problem := queue_problem(queue)):
        source.report(job.place("queue"), *problem)
    check_number(source, job, "priority", 1, 4, "F132")
    check_number(source, job, "max_attempts", 1, 32767, "F132")
    check_number(source, job, "delay", 0, 10 * 366 * 86400, "F132")


def duplicate(first: Definition, second: Definition, what: str, name: str) -> None:
    """Report to the second that the first has the name already. what: "resource" or "table"."""
    code = "F114" if what == "resource" else "F115"
    place = "plural" if what == "table" and second.call.text("plural") else "name"
    message = f"the {what} {quote(name)} is already that of {first.source.file}"
    hint = "rename one" if what == "resource" else 'give one of them plural="..."'
    second.source.report(second.call.place(place), code, message, hint)
