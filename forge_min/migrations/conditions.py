"""Compiles the conditions of schema.check to SQL. They are valid: `parse` has checked them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from ..parse import ColumnIR, parse_condition
from .objects import identifier, literal

_OPERATORS = {
    ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.And: " and ", ast.Or: " or ",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
_EXACT = {"int": "::numeric", "bigint": "::numeric", "float": "::text::numeric"}


def condition_sql(text: str, columns: Mapping[str, ColumnIR]) -> str:
    """Return a condition as SQL.

    columns: by the names of their fields; those that are computed exactly.
    """
    return _sql(parse_condition(text), columns)


def _sql(node: ast.expr, columns: Mapping[str, ColumnIR]) -> str:
    match node:
        case ast.Name(name):
            # Integers could overflow, and that would not be a violation, but another error. A float
            # is the number that its shortest text means, so 0.1 is one tenth.
            sql = identifier(name)
            if name in columns:
                sql += _EXACT.get(columns[name].type, "")
            return sql
        case ast.Constant(str(value)):
            return literal(value)
        case ast.Constant(value):
            return json.dumps(value)  # true, false, null and numbers are the same in JSON
        case ast.List(items) | ast.Tuple(items):
            return f"({', '.join(_sql(item, columns) for item in items)})"
        case ast.UnaryOp(operator, operand):
            word = "not " if isinstance(operator, ast.Not) else "- "
            return f"({word}{_sql(operand, columns)})"
        case ast.BinOp(left, operator, right):
            word = _OPERATORS[type(operator)]
            return f"({_sql(left, columns)} {word} {_sql(right, columns)})"
        case ast.BoolOp(operator, parts):
            word = _OPERATORS[type(operator)]
            return f"({word.join(_sql(part, columns) for part in parts)})"
        case ast.Call(_, [argument]):
            return f"char_length({_sql(argument, columns)})"
        case ast.Compare(first, signs, operands):
            comparisons = []
            before = _sql(first, columns)
            for sign, operand in zip(signs, operands, strict=True):
                after = _sql(operand, columns)
                comparisons.append(f"{before} {_OPERATORS[type(sign)]} {after}")
                before = after
            return f"({' and '.join(comparisons)})"
    raise TypeError(ast.dump(node))
