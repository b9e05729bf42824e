"""Schema files as text, and what parsing them gives. No tests."""

from __future__ import annotations

import itertools

from forge_min.parse import Diagnostic, ResourceIR
from forge_min.parse.diagnostic import Source
from forge_min.parse.project import Parsed, parse_sources

IMPORT = "from forge_min import schema\n"


def parse(**files: str | bytes) -> Parsed:
    """The result for resources/<name>/schema.py = text, several at once."""
    return parse_sources(
        [
            Source(f"resources/{name}/schema.py", text.encode() if isinstance(text, str) else text)
            for name, text in files.items()
        ]
    )


def parse_parts(*parts: str) -> Parsed:
    """The result for a resource Thing with these parts."""
    lines = itertools.chain(['thing = schema.define("Thing",'], (f"    {p}," for p in parts), ")")
    return parse(thing=IMPORT + "\n".join(lines) + "\n")


def resource(*parts: str) -> ResourceIR:
    """The IR of Thing, which must be without diagnostics."""
    parsed = parse_parts(*parts)
    assert parsed.diagnostics == ()
    return parsed.resources[0]


def codes(parsed: Parsed) -> list[str]:
    """The codes in order."""
    return [diagnostic.code for diagnostic in parsed.diagnostics]


def marked(diagnostic: Diagnostic) -> str:
    """The text above the carets."""
    return diagnostic.source_line[diagnostic.col - 1 : diagnostic.end_col - 1]
