"""All schema files of a project, and what can only be wrong between them. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePosixPath

from .. import schema
from .diagnostic import Diagnostic, quote
from .ir import ResourceIR
from .names import did_you_mean, snake
from .resource import Definition, read_definition
from .source import Source, read_source


@dataclass(frozen=True, slots=True)
class Parsed:
    """resources: those without a mistake, by folder. diagnostics: every mistake, in file order."""

    resources: tuple[ResourceIR, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse_project(root: Path) -> Parsed:
    """Read resources/*/schema.py below `root` with `ast`. Never raises for what a file holds."""
    paths = sorted((root / "resources").glob("*/schema.py"))
    return parse_sources([read_source(path, path.relative_to(root).as_posix()) for path in paths])


def parse_sources(sources: list[Source]) -> Parsed:
    """The same for files that were read already."""
    read = [read_definition(source) for source in sources if not source.diagnostics]
    definitions = [definition for definition in read if definition]
    spoilt = {PurePosixPath(source.file).parent.name for source in sources if source.diagnostics}
    _check_unique(definitions)
    _check_targets(definitions, spoilt)
    found = [diagnostic for source in sources for diagnostic in source.diagnostics]
    return Parsed(
        tuple(d.resource() for d in definitions if not d.source.diagnostics),
        tuple(sorted(found, key=attrgetter("file", "line", "col", "code", "message"))),
    )


def _check_unique(definitions: list[Definition]) -> None:
    seen: dict[tuple[str, str], Definition] = {}
    for second in definitions:
        for code, what, name in (("F114", "name", second.name), ("F115", "table", second.table)):
            first = seen.setdefault((code, name), second)
            if first is not second:
                message = f"the {what} {quote(name)} is already that of {first.source.file}"
                hint = 'rename one of them, or give a table of its own with plural="..."'
                second.source.report(second.call.place("name"), code, message, hint)
                break


def _check_targets(definitions: list[Definition], spoilt: set[str]) -> None:
    """Report targets that no file defines; a file with mistakes is given the benefit."""
    names = {definition.name for definition in definitions}
    for definition in definitions:
        for part in definition.call.parts:
            if not isinstance(part.value, schema.BelongsTo):
                continue
            target = part.value.target
            if target not in names and snake(target) not in spoilt:
                message = f"there is no resource {quote(target)}"
                hint = did_you_mean(target, names)
                definition.source.report(part.place("target"), "F140", message, hint)
