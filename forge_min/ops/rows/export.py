"""export: the rows of a resource as JSON lines or CSV, streamed, as `import` reads them."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ...actions import TYPES, ListQuery, Relation, Sort, quote, scope, to_text
from ...auth import accounts
from ...errors import ForgeError
from ...lazy import lazy_pattern
from ..project import Project
from .importer import batches, open_actions, operator
from .reader import STRUCTURED
from .references import AnyActions, Reference, references_named

Items = Iterable[Mapping[str, Any]]
_PLAIN = lazy_pattern(r'[^",\r\n]+')


def export_rows(project: Project, args: Namespace) -> int:
    """Write every row of `resource` that matches the filters `where`, and record the export.

    output: the file, default: stdout.
    format: "jsonl" or "csv"; "" is the format that the file's name ends with, else "jsonl".

    Raises as `open_actions`, BadRequest for a wrong query, and ForgeError F002 if the file cannot
    be written.
    """
    started = time.monotonic()
    output = args.output
    query = {}
    if args.sort:
        query["sort"] = [args.sort]
    for name, value in args.where:
        query.setdefault(name, []).append(value)
    identity = operator(project, args, args.all_fields)
    with (
        open_actions(project, args.resource, identity) as actions,
        actions.registry.database.standby_reads(),
    ):
        parsed = ListQuery.parse(actions.resource, query)
        # The oldest first: an import needs a row before the rows that refer to it.
        sorts = parsed.sorts or (Sort(actions.resource.key),)
        rows = actions.stream(replace(parsed, sorts=sorts))
        replaced = references_named(actions, args.related)
        accounts.record_export(actions.connection(), args.resource)
        with _writing(output) as stream:
            types = _columns(actions, replaced) if _is_csv(args) else None
            count = _write(stream, _items(actions, rows, replaced), types)
    if output:
        print(f"{output}: {count} rows in {time.monotonic() - started:.1f} s")
    return 0


def _is_csv(args: Namespace) -> bool:
    if args.json:
        return False
    format = args.format or (args.output or Path()).suffix[1:].lower()
    return bool(format == "csv")


def _columns(actions: AnyActions, replaced: Mapping[str, Reference]) -> dict[str, str]:
    """Return the columns of a CSV with their types; unique fields replace the keys of relations."""
    types = dict(actions.shown())
    for name, reference in replaced.items():
        types.pop(reference.relation.column, None)
        types[name] = reference.column.type
    return types


def _items(actions: AnyActions, rows: Iterator[Any], replaced: Mapping[str, Reference]) -> Items:
    """Yield the rows as JSON objects, with the ids of their many_to_many relations.

    replaced: the unique fields of related rows to write instead of their keys.
    """
    for batch in batches(rows):
        items = actions.to_json_many(batch)
        keys = [actions.key_of(row) for row in batch]
        for relation in actions.lists_of_keys():
            ids = _ids(actions, relation, keys)
            for key, item in zip(keys, items):
                item[relation.field] = ids.get(key, [])
        _replace_keys(items, replaced)
        yield from items


def _replace_keys(items: Sequence[dict[str, Any]], replaced: Mapping[str, Reference]) -> None:
    """Replace the keys of related rows by unique fields of theirs. One query for each field."""
    for name, reference in replaced.items():
        key = reference.target.resource.key
        read = TYPES[key.type].read
        texts = [item.get(reference.relation.column) for item in items]
        keys = {text: read(text) for text in texts if text is not None}
        values = reference.lookup({*keys.values()}, by=key, shown=reference.column, live=False)
        for item, text in zip(items, texts):
            value = values.get(keys.get(text))
            if not isinstance(value, int | float | None):
                value = to_text(value)
            item[name] = value
    for column in {reference.relation.column for reference in replaced.values()}:
        for item in items:
            item.pop(column, None)


def _ids(actions: AnyActions, relation: Relation, keys: list[Any]) -> dict[Any, list[Any]]:
    """Map the key of each row to the keys of its related living rows, as JSON values."""
    target = actions.registry.actions[relation.target].resource
    this = quote(relation.column)
    other = quote(relation.target_column)
    key = quote(target.key.name)
    scopes = scope(target, "t") + scope(actions.resource, "j", live=False)
    where = "".join(f" and {condition}" for condition in scopes)
    sql = f"""select j.{this} as key, jsonb_agg(j.{other} order by j.{other}) as ids
from {quote(relation.join)} j join {quote(target.source or target.table)} t on t.{key} = j.{other}
where j.{this} = any(%(keys)s){where} group by j.{this}"""
    params = {"keys": keys, "forge_tenant": actions.tenant()}
    rows = actions.run_sql(sql, params, into=dict)
    return {row["key"]: row["ids"] for row in rows}


@contextmanager
def _writing(output: Path | None) -> Iterator[IO[str]]:
    file = output or sys.stdout.fileno()
    try:
        with open(file, "w", encoding="utf-8", newline="", closefd=bool(output)) as stream:
            yield stream
    except OSError as err:
        if output is None:
            raise
        raise ForgeError(f"cannot write {output}: {err.strerror}", code="F002") from err


def _write(stream: IO[str], items: Items, types: Mapping[str, str] | None) -> int:
    """Write the items and return their number.

    types: the columns of a CSV (RFC 4180) with their types; None writes JSON lines.
    """
    count = 0
    if types is not None:
        stream.write(",".join(types) + "\r\n")
    for item in items:
        count += 1
        if types is None:
            stream.write(json.dumps(item, ensure_ascii=False) + "\n")
        else:
            cells = [_cell(kind, item[name]) for name, kind in types.items()]
            stream.write(",".join(cells) + "\r\n")
    return count


def _cell(kind: str, value: object) -> str:
    """Format a CSV cell: NULL is empty, an empty text is quoted, a JSON value is its text."""
    if value is None:
        return ""
    if kind in STRUCTURED or isinstance(value, bool):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace('"', '""') + '"'
