"""Generated classes have types, whatever their fields are called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import forge_min
import pytest
from forge_min.generate import generate, scaffold_resource
from forge_min.parse import parse_project

SCHEMA = """\
from forge_min import schema

thing = schema.define(
    "Thing",
    schema.date("date", required=True),
    schema.date("day"),
    schema.datetime("datetime"),
    schema.datetime("moment", required=True, filterable=True),
    schema.int("order", required=True),
    schema.string("select"),
    schema.enum("type", ["a", "b"]),
    schema.string("str"),
    schema.int("int"),
    schema.bool("bool"),
    schema.decimal("decimal"),
    schema.uuid("uuid"),
    schema.text("object"),
    schema.text("dict"),
    schema.text("dataclass"),
    schema.belongs_to("Thing", "row"),
    schema.timestamps(),
    schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="Greet")])),
)
"""
USE = """\
import datetime
import typing

from forge_min.actions import Page
from gen.thing import ThingActions
from gen.thing.model import ThingRow, to_json


def day(row: ThingRow) -> datetime.date | None:
    return row.day


def right(things: ThingActions, row: ThingRow) -> Page[ThingRow]:
    made = things.create({"date": "2026-01-31", "moment": row.moment, "order": 1, "row_id": row.id})
    things.update(made.id, {"day": None, "int": made.order})
    things.list(things.query({"row.moment[in]": [row.moment], "row.row_id[is_null]": True}))
    return things.list(things.query({"id[in]": [row.id], "created_at[gte]": "2026-01-31"}))


def mistaken(things: ThingActions, row: ThingRow) -> None:
    things.create({"date": row.date, "order": 1})  # type: ignore[typeddict-item]
    things.create({"date": 1, "moment": "", "order": 1})  # type: ignore[typeddict-item]
    things.update(row.id, {"dya": None})  # type: ignore[typeddict-unknown-key]
    things.update(row.id, {"order": None})  # type: ignore[typeddict-item]
    things.query({"select": "x"})  # type: ignore[typeddict-unknown-key]
    things.query({"row.select": "x"})  # type: ignore[typeddict-unknown-key]
    things.query({"row.moment[gte]": 1})  # type: ignore[typeddict-item]


hints = typing.get_type_hints(ThingRow)
assert hints["date"] is datetime.date and hints["day"] == datetime.date | None
assert hints["moment"] is datetime.datetime and hints["int"] == int | None
values: dict[str, typing.Any] = dict.fromkeys(hints)
now = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
stamps = {"moment": now, "created_at": now, "updated_at": now}
row = ThingRow(**values | stamps | {"date": now.date(), "order": 1})
assert to_json(row)["date"] == "2026-01-31" and day(row) is None
"""


@pytest.mark.thorough
def test_the_types_find_mistakes_also_where_fields_are_called_like_types(tmp_path: Path) -> None:
    folder = tmp_path / "resources" / "thing"
    folder.mkdir(parents=True)
    (folder / "schema.py").write_text(SCHEMA)
    parsed = parse_project(tmp_path)
    assert parsed.diagnostics == ()
    generate(tmp_path, parsed.resources)
    scaffold_resource(tmp_path, parsed.resources[0])
    (tmp_path / "use.py").write_text(USE)
    package = Path(forge_min.__file__).parent.parent
    paths = {"MYPYPATH": str(package), "PYTHONPATH": f"{tmp_path}{os.pathsep}{package}"}
    for command in (
        ["-m", "mypy", "--strict", "--follow-imports=silent", "use.py", "gen"],
        ["-B", "use.py"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | paths,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
