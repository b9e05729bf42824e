"""Rules for single values of the schema language.

Plain functions of values that yield options with their problems, without positions.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias

from .. import schema
from ..temporal import parse_duration
from . import names
from .diagnostic import SchemaProblem, problem, quote
from .ir import TYPES
from .pattern import pattern_problem

Problems: TypeAlias = Iterator[tuple[str, SchemaProblem | None]]  # (option, its problem or None)

_MAX_PRECISION = 1000  # of numeric(p, s), PostgreSQL manual, section 8.1.2
_JOB_LIMITS = {"priority": (1, 4), "max_attempts": (1, 32767), "delay": (0, 10 * 366 * 86400)}
# (entry of messages.toml, an option, the options that it excludes)
_CONFLICTS = (
    ("key_conflict", "primary_key", ("visible_to", "writable_by", "default", "aggregatable")),
    ("leak", "visible_to", ("searchable", "sortable", "filterable", "aggregatable")),
)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "decimal": Decimal, "date": date.fromisoformat, "time": time.fromisoformat,
    "datetime": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "duration": parse_duration,
}  # fmt: skip
_OPERATIONS = ("read", "create", "update", "delete", "restore")
# Routes of a row have these names already, or pages below it.
_RESERVED_VERBS = (*_OPERATIONS, "audit", "edit")
# Words that users may mean for an operation with another name.
_OTHER_WORDS = {"post": "create", "patch": "update", "put": "update"}
_OTHER_WORDS |= dict.fromkeys(("list", "get", "export", "events", "include"), "read")
# A verb may resemble "audit", unlike the others: "admit" is a good name.
_OTHER_WORDS |= dict.fromkeys(("audits", "audit_log", "auditable"), "audit")


def problems(value: object) -> Problems:
    """Yield (option, its problem or None) of a part, job or resource, without its parts."""
    match value:
        case schema.Field():
            yield from _field(value)
        case schema.BelongsTo() | schema.Many():
            yield from _relation(value)
        case schema.States():
            yield from _states(value)
        case schema.Permission(operation, roles):
            yield "operation", _operation(operation)
            yield "roles", _roles("the permission", roles)
        case schema.Report(name):
            invalid = _operation(name)
            if name in (*_OPERATIONS, "audit"):
                invalid = problem("report_operation", name=quote(name))
            yield "name", invalid
        case schema.JobRef(kind, queue):
            yield "kind", names.class_problem(kind, "the job kind")
            yield "queue", names.label_problem(queue, "the queue name")
            yield from _out_of_range(value, _JOB_LIMITS)
        case schema.ResourceSchema(name, plural=plural):
            invalid = names.resource_problem(name)
            yield "name", invalid
            table = names.table_of(value)
            if plural is not None:
                yield "plural", _table(table)
            elif not invalid:
                yield "name", _table(table)


def _table(table: str) -> SchemaProblem | None:
    path = names.kebab(table)
    if path in names.RESERVED_PATHS:
        return problem("reserved_path", table=table, path=path)
    return names.table_problem(table)


def _relation(relation: schema.BelongsTo | schema.Many) -> Problems:
    invalid = names.resource_problem(relation.target)
    yield "target", invalid
    if relation.name is not None or not invalid:
        name = names.name_of(relation)
        suffix = "_id" if isinstance(relation, schema.BelongsTo) else ""
        yield "name", names.field_problem(name, suffix) or names.field_problem(name)
    if isinstance(relation, schema.BelongsTo):
        yield from _member(relation)
        if relation.required and relation.on_delete == "set_null":
            yield "on_delete", problem("required_null")
    elif relation.table is not None:
        yield "table", names.table_problem(relation.table)


def _states(states: schema.States) -> Problems:
    graph = states.transitions
    yield "name", names.field_problem(states.name)
    if states.name in names.LIST_PARAMETERS:
        yield "name", problem("list_parameter", name=states.name)
    if states.initial not in graph:
        yield "initial", names.unknown("unknown_state", states.initial, graph)
    for state, verbs in graph.items():
        place = f"transitions.{state}"
        yield place, names.word_problem(state, "the state")
        for verb, target in verbs.items():
            if verb in _RESERVED_VERBS:
                yield place, problem("reserved_verb", name=quote(verb))
            else:
                yield place, names.word_problem(verb, "the transition")
            if target not in graph:
                yield f"{place}.{verb}", names.unknown("unknown_state", target, graph)
            elif target == state:
                yield f"{place}.{verb}", problem("state_loop", state=quote(state))
        if states.initial in graph and state not in _reachable(states):
            yield place, problem("unreachable_state", state=quote(state))
    yield from _unknown_verbs(states, "roles", states.roles)
    yield from _unknown_verbs(states, "reason", states.reason)
    yield from _unknown_verbs(states, "not_by", states.excluded)
    for state in states.locked:
        if state not in graph:
            yield f"locked.{state}", names.unknown("unknown_state", state, graph)
    for verb, roles in states.roles.items():
        yield f"roles.{verb}", _roles("roles", roles)


def _unknown_verbs(states: schema.States, option: str, verbs: Iterable[str]) -> Problems:
    for verb in verbs:
        if verb not in states.verbs:
            yield f"{option}.{verb}", names.unknown("unknown_transition", verb, states.verbs)


def _reachable(states: schema.States) -> list[str]:
    """Return the states that a new row can get to."""
    reachable = [states.initial]
    for state in reachable:  # grows in the loop
        for target in states.transitions.get(state, {}).values():
            if target not in reachable:
                reachable.append(target)
    return reachable


def _operation(operation: str) -> SchemaProblem | None:
    """Return the problem of a verb with a name like that of a protected operation."""
    close = difflib.get_close_matches(operation[:100], _OPERATIONS, n=1, cutoff=0.8)
    close = close or [operation]
    meant = _OTHER_WORDS.get(operation, close[0])
    if meant != operation:
        return problem("operation", word=quote(operation), meant=meant)
    return names.word_problem(operation, "the operation")


def _member(part: schema.Field | schema.BelongsTo) -> Problems:
    for option in ("visible_to", "writable_by"):
        yield option, _roles(option, getattr(part, option))
    for entry, option, conflicts in _CONFLICTS:
        if getattr(part, option, None):
            for conflict in conflicts:
                value = getattr(part, conflict, None)
                if value is not None and value is not False:
                    yield conflict, problem(entry, option=conflict)


def _roles(option: str, roles: Sequence[str] | None) -> SchemaProblem | None:
    """Return the problem of a list of roles; None means all users."""
    if roles is not None and not roles:
        return problem("no_role", option=option)
    for role in roles or ():
        invalid = names.label_problem(role, "the role")
        if invalid:
            return invalid
    return None


def _out_of_range(part: object, limits: Mapping[str, tuple[int, int]]) -> Problems:
    for name, (low, high) in limits.items():
        number = getattr(part, name)
        if number is not None and not low <= number <= high:
            yield name, problem("out_of_range", option=name, low=low, high=high)


def _field(field: schema.Field) -> Problems:
    yield "name", names.field_problem(field.name, free="id" if field.primary_key else "")
    if field.name in names.LIST_PARAMETERS:
        taken = problem("list_parameter", name=field.name)
        if field.filterable:
            yield "filterable", taken
        elif field.primary_key:
            yield "name", taken
    yield from _member(field)
    if field.searchable == "substring" and not field.filterable:
        yield "searchable", problem("substring")
    if field.type in ("enum", "enum[]"):
        yield from _choices(field.choices)
    elif field.choices:
        yield "choices", problem("choices_of")
    yield from _limits(field)
    pattern = field.pattern
    if pattern is not None:
        invalid = pattern_problem(pattern)
        yield "pattern", invalid
        if invalid:
            pattern = None
    if field.default is not None:
        yield "default", _default(field, pattern)


def _limits(field: schema.Field) -> Problems:
    about = TYPES[field.type]
    relative = about.get("relative", "(?!)")  # by default, a pattern that matches nothing
    yield from _out_of_range(field, about.get("limits", {}))
    for option in ("min", "max"):
        limit = getattr(field, option)
        is_value = isinstance(limit, str) and not re.fullmatch(relative, limit, re.ASCII)
        if is_value and value_of(field.type, limit) is None:
            yield option, problem("limit_type", option=option, type=field.type, hint=about["hint"])
    low, least, most = _bounds(field)
    if least is not None and most is not None and least > most:
        yield low, problem("limits_crossed", option=low)
    if field.precision:
        yield from _precision(field, field.precision)


def _bounds(field: schema.Field) -> tuple[str, Any, Any]:
    """Return (the lower limit's option, lower limit, upper limit); None for a relative limit."""
    if _has_length(field):
        return "min_len", field.min_len, field.max_len or TYPES[field.type].get("longest")
    return "min", _limit(field.type, field.min), _limit(field.type, field.max)


def _limit(kind: str, limit: Any) -> Any:
    if isinstance(limit, str):
        return value_of(kind, limit)
    return limit


def _has_length(field: schema.Field) -> bool:
    return "min_len" in TYPES[field.type].get("limits", ())


def _choices(choices: tuple[str, ...]) -> Problems:
    if not choices or "" in choices:
        yield "choices", problem("no_choices")
    twice = [choice for choice, count in Counter(choices).items() if count > 1]
    if twice:
        yield "choices", problem("choice_twice", choice=quote(twice[0]))


def _precision(field: schema.Field, precision: tuple[int, int]) -> Problems:
    digits, places = precision
    if not (1 <= digits <= _MAX_PRECISION and 0 <= places <= digits):
        yield "precision", problem("precision", most=_MAX_PRECISION)
        return
    for name in ("min", "max"):
        number = getattr(field, name)
        if number is not None and not _fits(Decimal(number), precision):
            yield name, problem("not_precise", option=name, precision=precision)


def _fits(number: Decimal, precision: tuple[int, int]) -> bool:
    digits, places = precision
    is_short = -int(number.as_tuple().exponent) <= places
    return is_short and number.copy_abs() < 10 ** max(digits - places, 0)


def _default(field: schema.Field, pattern: str | None) -> SchemaProblem | None:
    """Return the problem of the field's default. pattern: None if it is not set or invalid."""
    value: Any = field.default
    number = value_of(field.type, value)
    if number is None:
        hint = TYPES[field.type].get("hint", "")
        return problem("default_type", type=field.type, hint=hint)
    if field.type == "enum" and value not in field.choices:
        return names.unknown("default_choice", value, field.choices)
    size = number
    if _has_length(field):
        size = len(value)
    _, least, most = _bounds(field)
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        wrong = "does not match the pattern"
    elif (least is not None and size < least) or (most is not None and size > most):
        wrong = "is not between the limits"
    elif field.precision and not _fits(number, field.precision):
        wrong = f"does not fit precision={field.precision}"
    else:
        return None
    return problem("default_wrong", wrong=wrong)


def value_of(kind: str, written: Any) -> Any:
    """Return a default or a limit as a value that can be compared; None if it is not one."""
    rule = TYPES[kind]
    if kind in ("int", "bigint", "float"):
        least, most = rule["limits"]["min"]
        if least <= written <= most:
            return written
        return None
    try:
        if "written" in rule and not re.fullmatch(rule["written"], str(written), re.ASCII):
            return None
        if kind in _READERS:
            return _READERS[kind](written)
    except (ValueError, OverflowError):
        return None
    return written
