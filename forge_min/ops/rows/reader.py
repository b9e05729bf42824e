"""The lines of a file to import, JSON lines or CSV, as one object each.

Nothing here writes rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from ...actions import TYPES
from ...errors import BadRequest
from ...i18n import parse_number
from ...lazy import lazy_pattern

MAX_LINE = 1 << 24  # characters
# Types with JSON text in their CSV cell.
STRUCTURED = ("json", "many", "string[]", "int[]", "enum[]")
# PERF: json.loads with any option creates a decoder at each call.
_decode = json.JSONDecoder(parse_float=parse_number).decode
# A cell of RFC 4180 with its end; a quoted cell without its closing quote.
_CELL = lazy_pattern(r'(?:"([^"]*(?:""[^"]*)*)"|((?:[^",\r\n][^,\r\n]*)?))(,|[\r\n]*\Z)')
_OPEN = lazy_pattern(r'"[^"]*(?:""[^"]*)*\Z')


class InputLine(NamedTuple):
    """One line of the file.

    number: counted from 1; of a CSV row of several lines, the first.
    error: why the line has no item.
    """

    number: int
    item: dict[str, Any]
    error: str = ""


def read_lines(file: Path, types: Mapping[str, str]) -> Iterator[InputLine]:
    """Yield the lines of `file` (.csv, else JSON lines) except empty ones, one in memory at a time.

    types: the type of each field, for the cells of a CSV. An empty cell is NULL, but a quoted empty
    cell is an empty text, as in PostgreSQL's COPY.

    Raises BadRequest F610 for a file that cannot be read, and for a CSV with a wrong header.
    """
    try:
        # Bytes that are not UTF-8 become lone surrogates, so that their line can be reported.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            texts = _texts(stream)
            if file.suffix.lower() == ".csv":
                yield from _csv(file, texts, types)
            else:
                yield from _json(texts)
    except OSError as err:
        raise BadRequest(f"cannot read {file}: {err.strerror}", code="F610") from err


def _texts(stream: IO[str]) -> Iterator[str]:
    """Yield the lines; of a line that is too long, only its first MAX_LINE characters."""
    text = stream.readline(MAX_LINE)
    while text:
        yield text
        while len(text) == MAX_LINE and not text.endswith("\n"):
            text = stream.readline(MAX_LINE)
        text = stream.readline(MAX_LINE)


def _check_length(text: str) -> str:
    if len(text) == MAX_LINE:
        raise ValueError(f"the line has {MAX_LINE} characters or more")
    return text


def _json(texts: Iterator[str]) -> Iterator[InputLine]:
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            _check_length(text).encode()
            item = _decode(text)
        except (ValueError, RecursionError) as err:
            yield InputLine(number, {}, f"malformed JSON: {err}")
        else:
            if isinstance(item, dict):
                yield InputLine(number, item)
            else:
                yield InputLine(number, {}, "not a JSON object")


def _csv(file: Path, texts: Iterator[str], types: Mapping[str, str]) -> Iterator[InputLine]:
    numbered = enumerate(texts, 1)
    names: list[str] = []
    for number, text in numbered:
        try:
            if not names:
                cells = _cells(text, numbered)
                names = _header(file, [cell or "" for cell in cells], types)
            elif text.strip("\r\n"):
                cells = _cells(text, numbered)
                yield InputLine(number, _row(names, cells, types))
        except (ValueError, RecursionError) as err:
            if not names:
                raise BadRequest(f"{file}:{number}: malformed CSV: {err}", code="F610") from None
            yield InputLine(number, {}, f"malformed CSV: {err}")


def _cells(text: str, numbered: Iterator[tuple[int, str]]) -> list[str | None]:
    """Split a record into cells; a quoted cell may span lines, which are taken from `numbered`.

    An empty cell is None, a quoted empty cell "". Raises ValueError.
    """
    _check_length(text)
    cells: list[str | None] = []
    position = 0
    end = ","
    while end == ",":
        match = _CELL.match(text, position)
        if match is None:
            if not _OPEN.match(text, position):
                raise ValueError(f"cell {len(cells) + 1} has text after its closing quote")
            text += _until_a_quote(numbered)
            continue
        quoted, plain, end = match.groups()
        if quoted is None:
            cells.append(plain or None)
        else:
            cells.append(quoted.replace('""', '"'))
        position = match.end()
    return cells


def _until_a_quote(numbered: Iterator[tuple[int, str]]) -> str:
    lines = []
    length = 0
    for _, text in numbered:
        lines.append(_check_length(text))
        length += len(text)
        if '"' in text:
            return "".join(lines)
        if length > MAX_LINE:
            break
    raise ValueError("a quoted cell has no closing quote")


def _header(file: Path, names: list[str], types: Mapping[str, str]) -> list[str]:
    wrong = [n for i, n in enumerate(names) if n not in types or n in names[:i]]
    if wrong:
        hint = f"the first line names the fields, each once: {', '.join(types)}"
        raise BadRequest(f"{file}:1: unknown or repeated: {wrong}", code="F610", hint=hint)
    return names


def _row(names: list[str], cells: list[str | None], types: Mapping[str, str]) -> dict[str, Any]:
    if len(cells) != len(names):
        raise ValueError(f"{len(cells)} cells, and the header has {len(names)}")
    return {name: _cell(types[name], text) for name, text in zip(names, cells)}


def _cell(type_name: str, text: str | None) -> object:
    if text is None or (text == "" and type_name not in ("string", "text")):
        return None
    data = text.encode()
    if type_name not in STRUCTURED:
        return TYPES[type_name].from_text(text)
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return data  # bytes, which the action refuses together with all errors of the line
