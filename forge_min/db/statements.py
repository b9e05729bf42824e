"""Named SQL statements from .sql files: parameters only, nothing is ever pasted into them."""

from __future__ import annotations

import re
from importlib.resources import files

from ..errors import BuildError

NAME = re.compile(r"^-- name: *(\S+) *$", re.MULTILINE)


def load_sql(package: str, file: str) -> dict[str, str]:
    """The statements of `file` in `package` (dotted; a zip is fine), by the name in `-- name:
    fetch`.

    Text before the first name is a comment. Raises BuildError F329 for a name that comes twice,
    an empty statement or a file without any.
    """
    parts = NAME.split((files(package) / file).read_text("utf-8"))
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2]):
        if name in found or not text.strip():
            raise BuildError(f"{file}: statement {name} comes twice or is empty", code="F329")
        found[name] = text.strip().removesuffix(";")
    if not found:
        raise BuildError(f"{file}: no line says `-- name: ...`", code="F329")
    return found
