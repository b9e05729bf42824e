"""The smallest example: its files are up to date, and its artifact has pages and an API."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from forge_min.cli import main
from forge_min.testing import TestDatabase

from artifact_runner import Site, built_once

NOTES = Path(__file__).parents[2] / "examples" / "notes"


def test_its_generated_files_are_up_to_date(tmp_path: Path) -> None:
    copy = str(shutil.copytree(NOTES, tmp_path / "notes"))
    assert main(["generate", "--check", "--project", copy]) == 0
    assert main(["migrate", "diff", "--project", copy]) == 0
    assert len(list((tmp_path / "notes" / "migrations").iterdir())) == 1


@pytest.mark.db
def test_its_artifact_serves_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: TestDatabase, tmp_path: Path
) -> None:
    site = Site(built_once(tmp_path_factory, NOTES), fresh_database, tmp_path)
    try:
        site.serve()
        note = site.create("notes", {"title": "Buy milk"})
        assert note["done"] is False
        status, _, page = site.ask("GET", "/notes")
        assert status == 200 and b"Buy milk" in page
    finally:
        site.stop()
