"""Titles of rows: the checks of `title=`, and the titles of schemas without one."""

from __future__ import annotations

import pytest
from forge_min.parse import title_of
from forge_min.parse.project import Parsed

from .helpers import IMPORT, codes, marked, parse

WARD = 'schema.string("name", required=True), schema.json("map")'
STAY = 'schema.belongs_to("Ward"), schema.date("begins_on", required=True), schema.json("more")'


def stay(parts: str, title: str = "") -> Parsed:
    ward = f'{IMPORT}ward = schema.define("Ward", {WARD})\n'
    own = f'{IMPORT}stay = schema.define("Stay", {parts}, title={title!r})\n'
    return parse(stay=own, ward=ward)


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("{begins_on}, {ward.name}", None),
        ("{{{begins_on}}}", None),
        ("Stay", None),
        ("{nothing}", "F153"),
        ("{ward.nothing}", "F153"),
        ("{ward.name.first}", "F153"),
        ("{bed.name}", "F153"),
        ("{ward}", "F153"),
        ("{more}", "F158"),
        ("{ward.map}", "F158"),
        ("{begins_on", "F158"),
        ("{}", "F158"),
        ("{begins_on!r}", "F158"),
        ("{begins_on:%Y}", "F158"),
    ],
)
def test_a_title_names_fields_of_its_row_and_of_rows_to_which_it_belongs(
    title: str, code: str | None
) -> None:
    parsed = stay(STAY, title)
    assert codes(parsed) == ([code] if code else [])
    for diagnostic in parsed.diagnostics:
        assert marked(diagnostic) == repr(title).replace("'", '"') or title in marked(diagnostic)


@pytest.mark.parametrize(
    ("parts", "title"),
    [
        ('schema.string("code", required=True)', ""),  # the actions find it
        ('schema.string("note"), schema.belongs_to("Ward")', "{ward.name}"),
        (STAY, "{ward.name}, {begins_on}"),
        ('schema.belongs_to("Ward", visible_to=["boss"]), schema.int("n")', ""),
    ],
)
def test_a_schema_without_a_title_gets_one_from_related_rows(parts: str, title: str) -> None:
    resources = {resource.name: resource for resource in stay(parts).resources}
    assert title_of(resources["Stay"], resources) == title
