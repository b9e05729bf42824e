"""The rows of checks.toml, with which `make mutate-checks` takes checks of the package away."""

from __future__ import annotations

from pathlib import Path

import pytest

from remove_checks import ROOT, removed, rows


@pytest.mark.thorough
def test_every_row_still_fits_the_package_and_names_tests() -> None:
    for row in rows():
        assert removed(row, ROOT / "forge_min"), row["name"]
        for tests in row["tests"]:
            assert Path(ROOT, tests).exists(), row["name"]
