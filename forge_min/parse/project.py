"""All schema files of a project, and what can only be wrong between them. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .diagnostic import Diagnostic
from .ir import ResourceIR
from .names import did_you_mean, snake
from .resource import Definition, duplicate, read_definition
from .source import Source, read_source


@dataclass(frozen=True, slots=True)
class Parsed:
    """resources: those without a mistake, by folder. diagnostics: every mistake, in file order."""

    resources: tuple[ResourceIR, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse_project(root: Path) -> Parsed:
    """Read resources/*/schema.py below `root` with `ast`. Never raises for what a file holds."""
    sources = [read_source(path, file) for file, path in _files(root)]
    return parse_sources(sources)


def parse_sources(sources: list[Source]) -> Parsed:
    """The same for files that were read already."""
    read = [(source, read_definition(source)) for source in sources if not source.diagnostics]
    definitions = [definition for _, definition in read if definition]
    unread = {_folder(source) for source in sources if source.diagnostics}
    _check_unique(definitions)
    _check_targets(definitions, unread)
    found = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        tuple(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(found, key=lambda diagnostic: diagnostic.key)),
    )


def _files(root: Path) -> list[tuple[str, Path]]:
    paths = sorted((root / "resources").glob("*/schema.py"))
    return [(path.relative_to(root).as_posix(), path) for path in paths]


def _folder(source: Source) -> str:
    return PurePosixPath(source.file).parent.name


def _check_unique(definitions: list[Definition]) -> None:
    resources: dict[str, Definition] = {}
    tables: dict[str, Definition] = {}
    for definition in definitions:
        if definition.name:
            first = resources.setdefault(definition.name, definition)
            if first is not definition:
                duplicate(first, definition, "resource", definition.name)
                continue
        if definition.table:
            first = tables.setdefault(definition.table, definition)
            if first is not definition:
                duplicate(first, definition, "table", definition.table)


def _check_targets(definitions: list[Definition], unread: set[str]) -> None:
    """Report targets that no file defines; a file that could not be read is given the benefit."""
    names = {definition.name for definition in definitions if definition.name}
    for definition in definitions:
        for relation in definition.relations:
            target = relation.text("target")
            if target is None or target in names or snake(target) in unread:
                continue
            message = f'there is no resource "{target}"'
            hint = did_you_mean(target, names)
            definition.source.report(relation.place("target"), "F140", message, hint)
