"""Requirements of a distribution that hold here: PyPA "Dependency specifiers", names only.

Versions are not compared: what is installed was resolved by the installer.
"""

from __future__ import annotations

import ast
import operator
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ..failure import failure

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(?:;(.*))?$", re.DOTALL)
_VERSIONED = frozenset({"python_version", "python_full_version", "implementation_version"})
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: operator.contains(b, a),
    ast.NotIn: lambda a, b: not operator.contains(b, a),
}


def normalise(name: str) -> str:
    """The one spelling of a distribution's name (PyPA "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def environment() -> dict[str, str]:
    """What markers may ask about, here. `extra` is empty: only what is always required counts."""
    return {
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "python_full_version": platform.python_version(),
        "implementation_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_version": platform.version(),
        "extra": "",
    }


def required_names(requirements: Iterable[str], names: dict[str, str] | None = None) -> list[str]:
    """The normalised names among `Requires-Dist` lines whose markers hold.

    names: the environment, by default this machine's. Raises BuildError F341 for an unreadable one.
    """
    names = environment() if names is None else names
    wanted = []
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match is None:
            raise failure("bad_requirement", line=line)
        if match[2] is None or _holds(match[2], line, names):
            wanted.append(normalise(match[1]))
    return wanted


def _holds(marker: str, line: str, names: dict[str, str]) -> bool:
    """A marker is nearly a Python expression: parsed as one, walked, never run."""
    try:
        return _walk(ast.parse(marker.strip(), mode="eval").body, names)
    except (SyntaxError, KeyError, ValueError, TypeError, AttributeError) as err:
        raise failure("bad_requirement", line=line) from err


def _walk(node: ast.expr, names: dict[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        results = [_walk(value, names) for value in node.values]
        return all(results) if isinstance(node.op, ast.And) else any(results)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise ValueError("no comparison")
    left, right = node.left, node.comparators[0]
    versioned = any(isinstance(n, ast.Name) and n.id in _VERSIONED for n in (left, right))
    compare = _COMPARISONS[type(node.ops[0])]
    if versioned and not isinstance(node.ops[0], ast.In | ast.NotIn):
        return compare(_version(_text(left, names)), _version(_text(right, names)))
    return compare(_text(left, names), _text(right, names))


def _text(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("neither a name nor a string")


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(n) for n in re.match(r"[0-9.]+", text)[0].rstrip(".").split(".")]  # type: ignore[index]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
