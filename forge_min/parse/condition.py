"""The conditions of schema.check: a small part of Python's expressions over a resource's fields.

`check_condition` checks them. `migrations` compiles them to SQL, and `actions` evaluates them, so
no text of a user reaches SQL or Python's eval.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite

from .diagnostic import SchemaProblem, is_storable, problem
from .ir import ColumnIR
from .names import unknown

MAX_CONDITION = 500  # characters
_GROUPS = dict.fromkeys(("int", "bigint", "decimal", "float"), "number")
_GROUPS |= dict.fromkeys(("string", "text", "slug", "email", "url", "enum"), "text")
_ORDERED = ("number", "date", "datetime", "time", "duration")
_EQUALITY = ast.Eq | ast.NotEq
_ORDER = ast.Lt | ast.LtE | ast.Gt | ast.GtE
_ARITHMETIC = ast.Add | ast.Sub | ast.Mult


class ConditionError(Exception):
    """A condition is wrong.

    problem: the reason.
    node: the part of the condition, None for the whole.
    """

    def __init__(self, problem: SchemaProblem, node: ast.expr | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.node = node


def parse_condition(text: str) -> ast.expr:
    """Return the syntax tree of a condition. Raises ConditionError."""
    if not 0 < len(text) <= MAX_CONDITION:
        raise ConditionError(problem("condition_length", most=MAX_CONDITION))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape such as "\\d"
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        why = getattr(err, "msg", "it is nested too deeply")
        raise ConditionError(problem("condition_syntax", why=why)) from None


def condition_fields(text: str) -> tuple[str, ...]:
    """Return the names of the fields in a condition, in the order of their first use."""
    names = []
    functions = []
    for node in ast.walk(parse_condition(text)):
        match node:
            case ast.Call():
                functions.append(node.func)
            case ast.Name():
                names.append(node)
    fields = [name for name in names if name not in functions]
    fields.sort(key=lambda field: (field.lineno, field.col_offset))
    return tuple(dict.fromkeys(field.id for field in fields))


def check_condition(text: str, columns: Mapping[str, ColumnIR], *, of_index: bool = False) -> None:
    """Check the fields and the types of a condition. Raises ConditionError for the first mistake.

    columns: of the resource, by the names of their fields.
    of_index: whether it is the condition of an index, which cannot compute with fields.
    """
    condition = parse_condition(text)
    kind = _Types(text, columns).of(condition)
    if kind != "bool":
        raise ConditionError(problem("condition_kind", kind=kind))
    fields = condition_fields(text)
    if not fields:
        raise ConditionError(problem("condition_constant"))
    audiences = {frozenset(columns[name].visible_to or ()) for name in fields}
    if len(audiences) > 1:
        raise ConditionError(problem("condition_leak"))
    if of_index:
        for node in ast.walk(condition):
            match node:
                case ast.BinOp() | ast.UnaryOp(ast.USub(), ast.Name()):
                    raise ConditionError(problem("index_arithmetic"), node)


class _Types:
    """The type of each part of a condition: number, text, bool, or that of a field."""

    def __init__(self, text: str, columns: Mapping[str, ColumnIR]) -> None:
        self._text = text
        self._columns = columns

    def of(self, node: ast.expr) -> str:
        match node:
            case ast.Name(name):
                return self._field(node, name)
            case ast.Constant(bool()):
                return "bool"
            case ast.Constant(int()):
                return "number"
            case ast.Constant(float(number)) if isfinite(number):
                written = ast.get_source_segment(self._text, node) or ""
                if Decimal(written) != Decimal(repr(number)):
                    raise ConditionError(problem("condition_digits"), node)
                return "number"
            case ast.Constant(str(value)):
                if not is_storable(value):
                    raise ConditionError(problem("not_storable"), node)
                return "text"
            case ast.UnaryOp(ast.Not(), operand):
                return self._need("bool", operand)
            case ast.UnaryOp(ast.USub(), operand):
                return self._need("number", operand)
            case ast.BinOp(left, operator, right) if isinstance(operator, _ARITHMETIC):
                return self._need("number", left, right)
            case ast.BoolOp(_, parts):
                return self._need("bool", *parts)
            case ast.Call(ast.Name("len"), [argument], []):
                self._need("text", argument)
                return "number"
            case ast.Compare(first, signs, others):
                # Each operand in the middle of a chain is written twice in SQL.
                for operand in others[:-1]:
                    if not isinstance(operand, ast.Name | ast.Constant):
                        raise ConditionError(problem("condition_chain"), operand)
                left = first
                for sign, right in zip(signs, others):
                    self._compare(node, left, sign, right)
                    left = right
                return "bool"
        raise ConditionError(problem("condition_part"), node)

    def _field(self, node: ast.expr, name: str) -> str:
        column = self._columns.get(name)
        if column is None:
            raise ConditionError(unknown("no_field", name, self._columns), node)
        if column.type == "json":
            raise ConditionError(problem("condition_json"), node)
        return _GROUPS.get(column.type, column.type)

    def _need(self, kind: str, *nodes: ast.expr) -> str:
        for node in nodes:
            actual = self.of(node)
            if actual != kind:
                raise ConditionError(problem("condition_type", kind=kind, found=actual), node)
        return kind

    def _compare(
        self, node: ast.expr, left: ast.expr, operator: ast.cmpop, right: ast.expr
    ) -> None:
        kind = self.of(left)
        match operator, right:
            case ast.Is() | ast.IsNot(), ast.Constant(None):
                return
            case _ if kind.endswith("[]"):
                raise ConditionError(problem("condition_array"), node)
            case ast.In() | ast.NotIn(), ast.List([_, *_] as items) | ast.Tuple([_, *_] as items):
                values = items
            case operator, _ if isinstance(operator, _EQUALITY | _ORDER):
                values = [right]
            case _:
                raise ConditionError(problem("condition_part"), node)
        for value in values:
            value_kind = self.of(value)
            if value_kind != kind:
                raise ConditionError(problem("condition_types", left=kind, right=value_kind), node)
            self._check_choice(left, value)
            self._check_choice(value, left)
        if isinstance(operator, _ORDER) and kind not in _ORDERED:
            raise ConditionError(problem("condition_order", kind=kind), node)

    def _check_choice(self, field: ast.expr, value: ast.expr) -> None:
        """Refuse a text that an enum cannot have."""
        if isinstance(field, ast.Name) and isinstance(value, ast.Constant):
            choices = self._columns[field.id].choices
            if choices and value.value not in choices:
                wrong = unknown("condition_choice", str(value.value), choices)
                raise ConditionError(wrong, value)
