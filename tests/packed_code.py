"""Packed code: idioms that put several steps into one, and the number of tokens.

A token is what Python's tokenizer reads, without comments, docstrings, line ends and indentation.
An f-string is one token, on every Python. Breaking a line or naming a step costs next to nothing,
so a ceiling of tokens rewards less code, where one of lines rewards packed lines.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MOST_POSITIONAL, MOST_LOOPS = 7, 2
COMMENTS = {
    ".sql": r"--[^\n]*|/\*.*?\*/",
    ".html": r"<!--.*?-->",
    ".css": r"/\*.*?\*/",
    ".js": r"//[^\n]*|/\*.*?\*/",
    ".toml": r"#[^\n]*",
    ".yml": r"#[^\n]*",
    ".tmpl": None,
}
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_OPENS = getattr(tokenize, "FSTRING_START", None)  # since Python 3.12
_CLOSES = getattr(tokenize, "FSTRING_END", None)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


# -- sizes -----------------------------------------------------------------------------------------


def token_count(path: Path) -> int:
    """Tokens of a Python or Cython file. Docstrings of Cython count as one token each."""
    return _token_count(path.read_text("utf-8"), path.suffix == ".py")


@cache
def _token_count(text: str, is_python: bool) -> int:
    documented = _docstring_lines(ast.parse(text)) if is_python else set()
    count = depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == _CLOSES:
            depth -= 1
            continue
        is_inside = depth > 0
        if token.type == _OPENS:
            depth += 1
        is_docstring = token.type == tokenize.STRING and token.start[0] in documented
        if not is_inside and token.type not in _LAYOUT and not is_docstring:
            count += 1
    return count


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def statement_count(tree: ast.Module) -> int:
    """Statements of a module, those inside of others too."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree))


def word_count(path: Path) -> int:
    """Words and signs of a file in another language, without comments."""
    text = path.read_text("utf-8", "replace")
    comment = COMMENTS[path.suffix]
    if comment:
        text = re.sub(comment, "", text, flags=re.DOTALL)
    return len(re.findall(r"\w+|[^\w\s]", text))


# -- idioms ----------------------------------------------------------------------------------------


def idioms(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of each packed passage. A swap, and `x or default`, are none."""
    for node in ast.walk(tree):
        for name, is_packed in _IDIOMS.items():
            if is_packed(node):
                yield name, getattr(node, "lineno", 0)


def conditional_expressions(tree: ast.Module) -> int:
    """The number of `x if c else y`."""
    return sum(isinstance(node, ast.IfExp) for node in ast.walk(tree))


def _assigns_unrelated_values(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    target = node.targets[0]
    if not isinstance(target, ast.Tuple):
        return False
    targets = {ast.dump(name).replace("Store", "Load") for name in target.elts}
    return targets != {ast.dump(value) for value in node.value.elts}


def _loops_over_a_conditional(node: ast.AST) -> bool:
    return isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.IfExp)


def _multiplies_by_a_truth_value(node: ast.AST) -> bool:
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    return _is_truth_value(node.left) or _is_truth_value(node.right)


def _is_truth_value(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") in ("bool", "isinstance")
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare | ast.BoolOp)


def _nests_conditionals(node: ast.AST) -> bool:
    if not isinstance(node, ast.IfExp):
        return False
    inside = [child for child in ast.walk(node) if isinstance(child, ast.IfExp)]
    return len(inside) > 1


def _mixes_and_with_or(node: ast.AST) -> bool:
    """Whether a value, not a condition, is chosen by both."""
    values: list[ast.expr | None] = []
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.Return):
        values = [node.value]
    elif isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(_has_both_operators(value) for value in values)


def _has_both_operators(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.BoolOp):
        return False
    operators = {type(node.op) for node in ast.walk(value) if isinstance(node, ast.BoolOp)}
    return len(operators) == 2


def _is_expression_as_statement(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.BoolOp | ast.IfExp)


def _has_too_many_loops(node: ast.AST) -> bool:
    comprehensions = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    return isinstance(node, comprehensions) and len(node.generators) > MOST_LOOPS


def _has_too_many_parameters(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    positional = [*node.args.posonlyargs, *node.args.args]
    names = [argument.arg for argument in positional if argument.arg not in ("self", "cls")]
    return len(names) > MOST_POSITIONAL


_IDIOMS = {
    "a tuple assignment of unrelated values": _assigns_unrelated_values,
    "a loop over a conditional expression": _loops_over_a_conditional,
    "a multiplication by a truth value": _multiplies_by_a_truth_value,
    "a nested conditional expression": _nests_conditionals,
    "a value that mixes `and` with `or`": _mixes_and_with_or,
    "an expression as a statement": _is_expression_as_statement,
    "a comprehension of more than two loops": _has_too_many_loops,
    "more than seven positional parameters": _has_too_many_parameters,
}
