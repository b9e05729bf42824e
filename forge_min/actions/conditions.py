"""Evaluates the conditions of schema.check as PostgreSQL does: a comparison with null is unknown.

The conditions are in generated code, and `generate` has checked them.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

from .values import EXACT

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Add: operator.add, ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}  # fmt: skip


def evaluate(condition: str, values: Mapping[str, Any]) -> Any:
    """Return whether a condition is true; None if that is unknown.

    values: of its fields, by name.
    """
    with localcontext(EXACT):  # as PostgreSQL computes a numeric
        return _value(_parsed(condition), values)


@lru_cache(1000)
def _parsed(condition: str) -> ast.expr:
    return ast.parse(condition, mode="eval").body


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Return the value of a part of a condition; None if it is null or unknown."""
    match node:
        case ast.Name(name):
            return _exact(values[name])
        case ast.Constant(value):
            return _exact(value)
        case ast.List(items) | ast.Tuple(items):
            return [_value(item, values) for item in items]
        case ast.UnaryOp(sign, operand):
            value = _value(operand, values)
            if value is None:
                return None
            if isinstance(sign, ast.Not):
                return not value
            return -value
        case ast.BinOp(left, sign, right):
            return _apply(sign, _value(left, values), _value(right, values))
        case ast.BoolOp(word, parts):
            results = [_value(part, values) for part in parts]
            return _join(results, isinstance(word, ast.Or))
        case ast.Call(_, [argument]):
            text = _value(argument, values)
            if text is None:
                return None
            return len(text)
        case ast.Compare(first, signs, others):
            operands = [_value(part, values) for part in (first, *others)]
            comparisons = zip(signs, operands, operands[1:])
            return _join([_apply(*comparison) for comparison in comparisons], False)
    raise TypeError(ast.dump(node))


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    return value


def _apply(sign: ast.AST, left: Any, right: Any) -> Any:
    if isinstance(sign, ast.Is | ast.IsNot):
        return (left is None) == isinstance(sign, ast.Is)
    if isinstance(sign, ast.In | ast.NotIn):
        is_in = _join([_apply(ast.Eq(), left, item) for item in right], True)
        if is_in is None:
            return None
        return is_in == isinstance(sign, ast.In)
    if left is None or right is None:
        return None
    return _OPERATORS[type(sign)](left, right)


def _join(results: list[Any], decisive: bool) -> bool | None:
    """Return the conjunction of results, or their disjunction if one that is true decides it."""
    if decisive in results:
        return decisive
    if None in results:
        return None
    return not decisive
