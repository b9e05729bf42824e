"""All schema files of a project, read together. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from .between import check_between
from .diagnostic import Diagnostic
from .ir import ResourceIR
from .lower import settle
from .reading import Source, read_definition, read_source


@dataclass(frozen=True, slots=True)
class Parsed:
    """resources: those without a mistake, by folder. diagnostics: every mistake, in file order."""

    resources: tuple[ResourceIR, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse_project(root: Path, roles: Sequence[str] = ()) -> Parsed:
    """Read resources/*/schema.py below `root` with `ast`. Never raises for what a file holds.

    roles: the only ones that a schema may name; none means any.
    """
    paths = sorted((root / "resources").glob("*/schema.py"))
    sources = [read_source(path, path.relative_to(root).as_posix()) for path in paths]
    return parse_sources(sources, roles)


def parse_sources(sources: list[Source], roles: Sequence[str] = ()) -> Parsed:
    """The same for files that were read already."""
    readable = [source for source in sources if not source.diagnostics]
    definitions = [found for found in map(read_definition, readable) if found]
    check_between(definitions, {source.folder for source in sources}, roles)
    found = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        settle(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(found, key=attrgetter("file", "line", "col", "code", "message"))),
    )
