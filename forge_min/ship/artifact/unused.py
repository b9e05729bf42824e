"""The parts of forge_min that a project does not use, and that its artifact leaves out.

No code of the project is executed: a part is left out only if no Python or SQL file of the project
has a word by which it could be used. Words in comments and strings count too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

_HTML = "forge_min/html/"
Code = Mapping[str, bytes]


class OptionalPart(NamedTuple):
    """A part of forge_min that an artifact may lack.

    files: beginnings of the names of its files.
    is_used: whether this code of a project uses it.
    """

    files: tuple[str, ...]
    is_used: Callable[[Code], bool]


def unused_parts(project: Code) -> list[str]:
    """Return the names of the parts that the project does not use, sorted.

    project: its members by name; app.py, gen/, resources/ and all that they import are there.
    """
    code = {name: data for name, data in project.items() if name.endswith((".py", ".sql"))}
    return [name for name, part in sorted(PARTS.items()) if not part.is_used(code)]


def without(parts: list[str], package: Code) -> dict[str, bytes]:
    """Return the members of forge_min that do not belong to these parts."""
    files = tuple(name for part in parts for name in PARTS[part].files)
    return {name: data for name, data in package.items() if not name.startswith(files)}


def _has(pattern: bytes) -> Callable[[Code], bool]:
    search = re.compile(pattern, re.IGNORECASE).search
    return lambda code: any(search(name.encode()) or search(code[name]) for name in code)


def _has_resource_pages(code: Code) -> bool:
    """Return False only for one `App(resource_pages=False)` in all code.

    A second call of App, another name for it, and a further `resource_pages` count as a use.
    """
    everything = b"\n".join(code.values())
    if everything.count(b"resource_pages") != 1 or re.search(rb"\bApp\s+as\b", everything):
        return True
    if re.search(rb"forge_min\.html|forge_min\s+import[^;]*\bhtml\b", everything):
        return True
    trees = (ast.parse(data) for name, data in code.items() if name.endswith(".py"))
    calls = [
        {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and re.fullmatch(r"(.*\.)?App", ast.unparse(node.func))
    ]
    return calls != [{"resource_pages": "False"}]


PARTS = {
    "account pages": OptionalPart(
        (
            f"{_HTML}account/pages.",
            *(f"{_HTML}templates/{page}." for page in ("account", "password", "sign_in")),
        ),
        _has(rb"sign_in|account.?pages"),
    ),
    "jobs page": OptionalPart(
        (
            "forge_min/admin/jobs/",
            *(f"forge_min/admin/templates/{page}." for page in ("job", "jobs", "queues")),
        ),
        _has(rb"job|periodic"),
    ),
    "resource pages": OptionalPart(
        (
            *(f"{_HTML}{name}." for name in ("cells", "form", "inputs", "list_page", "resource")),
            *(f"{_HTML}templates/{page}." for page in ("delete", "form", "list", "show")),
        ),
        _has_resource_pages,
    ),
}
