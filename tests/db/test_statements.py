"""load_sql: named statements, from a folder and from a zip."""

from __future__ import annotations

import sys
import zipfile

import pytest
from forge_min.db import load_sql
from forge_min.errors import BuildError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes x.sql of a package named sqlroom, beside an __init__."""
    (tmp_path / "sqlroom").mkdir()
    (tmp_path / "sqlroom" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda text: (tmp_path / "sqlroom" / "x.sql").write_text(text)
    sys.modules.pop("sqlroom", None)


def test_statements_are_found_by_name(package):
    package("-- a comment\n\n-- name: one\nselect 1;\n\n-- name: two\nselect 2\n  -- why\n  , 3;\n")
    assert load_sql("sqlroom", "x.sql") == {"one": "select 1", "two": "select 2\n  -- why\n  , 3"}


def test_a_zip_is_as_good_as_a_folder(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.pyz", "w") as archive:
        archive.writestr("zippedroom/__init__.py", "")
        archive.writestr("zippedroom/x.sql", "-- name: one\nselect 1")
    monkeypatch.syspath_prepend(str(tmp_path / "a.pyz"))
    try:
        assert load_sql("zippedroom", "x.sql") == {"one": "select 1"}
    finally:
        sys.modules.pop("zippedroom", None)


@pytest.mark.parametrize(
    "text", ["select 1", "-- name: a\nselect 1\n-- name: a\nselect 2", "-- name: a\n-- name: b\nx"]
)
def test_a_wrong_file_is_refused(package, text):
    package(text)
    with pytest.raises(BuildError) as caught:
        load_sql("sqlroom", "x.sql")
    assert caught.value.code == "F329"
