"""Installed distributions as members of an artifact: which are required, and their files.

Metadata and files are read, and no module is imported. Formats: PyPA "Recording installed
projects" and "Dependency specifiers". Versions are not compared, because the installer did so.
"""

from __future__ import annotations

import ast
import base64
import csv
import operator
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import PurePosixPath
from typing import Any

from ...errors import BuildError
from ..errors import build_error

BASE = ("opentelemetry-api", "opentelemetry-sdk", "psycopg")
# psycopg's name of the implementation (PSYCOPG_IMPL) → the distribution that holds it.
DRIVERS = {"binary": "psycopg-binary", "c": "psycopg-c"}

# Installers write these, and they differ between machines; the others are not used at run time.
INSTALLERS_OWN = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_LEFT_OUT = INSTALLERS_OWN | {"py.typed"}
_LEFT_OUT_SUFFIXES = (".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h")

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(?:;(.*))?$", re.DOTALL)
_VERSIONED = {"python_version", "python_full_version", "implementation_version"}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def find_installed(name: str, version: str = "") -> Distribution:
    """Return the installed distribution.

    Raises BuildError F341 if it is not installed, or not with this version.
    """
    requirement = f"{name}=={version}" if version else name
    try:
        result = Distribution.from_name(name)
    except PackageNotFoundError:
        raise _missing(requirement, "is not installed") from None
    if version and result.version != version:
        raise _missing(requirement, f"is installed as {result.version}")
    return result


def collect(
    names: Iterable[str], find: Callable[[str], Distribution] = find_installed
) -> list[Distribution]:
    """Return these distributions and all that they require, sorted by name.

    find: returns the distribution of a normalised name; raises BuildError F341.
    """
    result = {}
    todo = [normalise(name) for name in names]
    while todo:
        name = todo.pop()
        if name not in result:
            result[name] = find(name)
            todo += required_names(result[name].requires or ())
    return [result[name] for name in sorted(result)]


def members(dist: Distribution) -> dict[str, bytes]:
    """Return the files of a distribution by name inside the artifact.

    Those of a distribution with a compiled module are below `_native/`. Raises as `recorded_files`.
    """
    files = recorded_files(dist, _is_needed)
    suffixes = tuple(EXTENSION_SUFFIXES)
    if not any(name.endswith(suffixes) for name in files):
        return files
    return {f"_native/{name}": data for name, data in files.items()}


def recorded_files(
    dist: Distribution, is_needed: Callable[[PurePosixPath], bool]
) -> dict[str, bytes]:
    """Return files by their names in RECORD, without scripts, which are outside: ../../bin/x.

    is_needed: selects files by path.
    Raises BuildError F341 if the record or a file is missing, F342 if a file was changed.
    """
    record = dist.read_text("RECORD")  # not dist.files, which leaves out missing files
    if record is None:
        raise _missing(dist.name, "has no RECORD of its files")
    # Of two rows of a file the last one counts.
    hashes = {row[0]: row[1] for row in csv.reader(record.splitlines()) if len(row) == 3}
    result = {}
    for name, recorded in hashes.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            continue
        if is_needed(path):
            result[name] = _read(dist, name, recorded)
    return result


def record_hash(data: bytes) -> str:
    """Return the SHA-256 in the form of RECORD."""
    digest = base64.urlsafe_b64encode(sha256(data).digest()).decode()
    return f"sha256={digest.rstrip('=')}"


def _is_needed(path: PurePosixPath) -> bool:
    return path.name not in _LEFT_OUT and not path.name.endswith(_LEFT_OUT_SUFFIXES)


def _read(dist: Distribution, name: str, recorded: str) -> bytes:
    try:
        data: bytes = dist.locate_file(name).read_bytes()  # type: ignore[attr-defined]
    except (OSError, KeyError) as err:  # a wheel raises KeyError
        raise _missing(dist.name, f"lacks its file {name}") from err
    if recorded.startswith("sha256=") and recorded != record_hash(data):
        raise build_error("changed", file=name, name=dist.name)
    return data


def _missing(name: str, what: str) -> BuildError:
    extra = {"psycopg-binary": "forge-min[binary]", "psycopg-c": "forge-min[c]"}.get(name, name)
    return build_error("no_distribution", name=name, what=what, extra=extra)


def normalise(name: str) -> str:
    """Return the normalised name of a distribution (PyPA "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def environment() -> dict[str, str]:
    """Return the values of markers on this machine; `extra` is empty, so no extra is required."""
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


def required_names(requirements: Iterable[str]) -> list[str]:
    """Return the normalised names of the `Requires-Dist` lines that apply here by their markers.

    Raises BuildError F341 for a line that cannot be parsed.
    """
    names = environment()
    required = []
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match is None:
            raise build_error("bad_requirement", line=line)
        name, marker = match.groups()
        if marker is None or _is_true(marker, line, names):
            required.append(normalise(name))
    return required


def _is_true(marker: str, line: str, names: dict[str, str]) -> bool:
    """Parse a marker as a Python expression, and evaluate its syntax tree without running it."""
    try:
        expression = ast.parse(marker.strip(), mode="eval")
        return _evaluate(expression.body, names)
    except (SyntaxError, KeyError, ValueError, TypeError, AttributeError) as err:
        raise build_error("bad_requirement", line=line) from err


def _evaluate(node: ast.expr, names: dict[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        results = [_evaluate(value, names) for value in node.values]
        if isinstance(node.op, ast.And):
            return all(results)
        return any(results)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise ValueError("not a comparison")
    operands = (node.left, node.comparators[0])
    left, right = [_text(operand, names) for operand in operands]
    operation = node.ops[0]
    compare = _COMPARISONS[type(operation)]
    versioned = any(isinstance(n, ast.Name) and n.id in _VERSIONED for n in operands)
    if versioned and not isinstance(operation, ast.In | ast.NotIn):
        return compare(_version(left), _version(right))
    return compare(left, right)


def _text(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("neither a name nor a string")


def _version(text: str) -> tuple[int, ...]:
    digits = re.match(r"[0-9.]+", text)[0]  # type: ignore[index]
    numbers = [int(number) for number in digits.rstrip(".").split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
