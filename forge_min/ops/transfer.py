"""import: a file of JSON lines or CSV through the actions, in bulk. All of it, or none.

A wrong line stops the import and is named by its number; nothing of the file is kept.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..actions import Actions
from ..actions.values import TYPES
from ..errors import BadRequest, ErrorGroup, ForgeError, Invalid, NotFound
from .project import Project

EVERY = 1000  # lines between two reports of progress


def import_file(project: Project, topic: str, file: Path, *, as_json: bool = False) -> int:
    """Create a row of `topic` from each line of `file` (.csv with a header line, else JSON lines).

    Raises NotFound for a topic, BadRequest F610 for a file or line, ErrorGroup F611 with one error
    per wrong field, by line.
    """
    started = time.monotonic()
    running = project.start(serving=False)
    try:
        actions = running.registry.actions.get(topic)
        if actions is None:
            known = ", ".join(running.registry.actions)
            raise NotFound(f"there is no resource {topic}", hint=f"resources: {known}")
        count = _create(actions, file)
    finally:
        running.stop()
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps({"resource": topic, "rows": count, "seconds": round(seconds, 3)}))
    else:
        print(f"{topic}: {count} rows in {seconds:.1f} s")
    return 0


def _create(actions: Actions[Any], file: Path) -> int:
    lines: list[int] = []
    try:
        return actions.create_many(_progress(read_items(actions, file), lines))
    except Invalid as err:
        raise ErrorGroup(
            f"{file} was not imported", [_by_line(file, lines, e) for e in err.errors]
        ) from err


def _by_line(file: Path, lines: list[int], error: Any) -> ForgeError:
    place, _, field = error.pointer[1:].partition("/")
    return ForgeError(
        f"{file}:{lines[int(place)]}: {field} {error.message}",
        code="F611",
        hint="nothing was imported; correct the line and start again",
    )


def _progress(
    items: Iterator[tuple[int, Mapping[str, object]]], lines: list[int]
) -> Iterator[Mapping[str, object]]:
    show = sys.stderr.isatty()
    for line, item in items:
        lines.append(line)
        if show and len(lines) % EVERY == 0:
            print(f"\r{len(lines)} lines", end="", file=sys.stderr, flush=True)
        yield item
    if show and len(lines) >= EVERY:
        print(file=sys.stderr)


def read_items(actions: Actions[Any], file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """(line number, object) of each line. Raises BadRequest F610 naming the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            if file.suffix.lower() == ".csv":
                yield from _csv(actions, file, stream)
            else:
                yield from _json(file, stream)
    except OSError as err:
        raise BadRequest(f"cannot read {file}: {err.strerror}", code="F610") from err
    except UnicodeDecodeError:
        raise BadRequest(f"{file} is not UTF-8", code="F610") from None


def _json(file: Path, stream: Any) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line, parse_float=Decimal)
        except (ValueError, RecursionError) as err:
            raise BadRequest(f"{file}:{number}: malformed JSON: {err}", code="F610") from None
        if not isinstance(item, dict):
            raise BadRequest(f"{file}:{number}: not a JSON object", code="F610")
        yield number, item


def _csv(
    actions: Actions[Any], file: Path, stream: Any
) -> Iterator[tuple[int, Mapping[str, object]]]:
    """An empty cell is NULL; other cells are read by their column's type."""
    reader = csv.DictReader(stream, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise BadRequest(
                    f"{file}:{reader.line_num}: another number of cells than the header",
                    code="F610",
                )
            yield reader.line_num, {k: _cell(actions, k, v) for k, v in row.items()}
    except csv.Error as err:
        raise BadRequest(f"{file}:{reader.line_num}: {err}", code="F610") from None


def _cell(actions: Actions[Any], name: str, text: str) -> object:
    if text == "":
        return None
    column = actions.resource.column(name)
    return TYPES[column.type].from_text(text) if column else text
