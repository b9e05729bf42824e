"""Requirement lines: names and markers, against packaging's own reading of them."""

from __future__ import annotations

from importlib import metadata

import pytest
from forge_min.errors import BuildError
from forge_min.ship.artifact import distributions
from forge_min.ship.artifact.distributions import environment, required_names
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = {**environment(), "python_version": "3.11", "python_full_version": "3.11.7"}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("typing-extensions>=4.6; python_version < '3.13'", True),
        ("typing-extensions>=4.6; python_version < '3.9'", False),
        ("a; python_version >= '3.2'", True),  # 3.11 > 3.2: numbers, not text
        ("a; python_full_version == '3.11.7'", True),
        ("a; '3.10' < python_version", True),
        ("a; extra == 'c'", False),
        ("a; sys_platform == 'win32' or sys_platform == 'linux'", True),
        ("a; (sys_platform == 'win32' or os_name == 'posix') and extra == ''", True),
        ("a; platform_machine in 'x86_64 aarch64 arm64'", True),
        ("a; platform_machine not in 'x86_64 aarch64 arm64'", False),
        ("a[b,c] (>=1.0,<2)", True),
        ("A_b.C", True),
        ("a @ https://example.invalid/a.whl ; python_version > '3'", True),
    ],
)
def test_a_marker_decides(line: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "environment", lambda: HERE)
    assert bool(required_names([line])) is wanted


def test_every_requirement_of_this_environment_reads_as_packaging_reads_it() -> None:
    lines = {line for dist in metadata.distributions() for line in dist.requires or ()}
    assert len(lines) > 20
    for line in lines:
        requirement = Requirement(line)
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        expected = [canonicalize_name(requirement.name)] if needed else []
        assert required_names([line]) == expected, line


@pytest.mark.parametrize("line", ["", "-r file", "a; python_version", "a; b == 'c'", "a; __x__()"])
def test_what_cannot_be_read_is_an_error_and_is_never_run(line: str) -> None:
    with pytest.raises(BuildError) as caught:
        required_names([line])
    assert caught.value.code == "F341"
