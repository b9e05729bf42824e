"""Rules of every test run: FORGE_REQUIRE_ALL=1 makes a skip a failure, but for what the kernel
forbids; `make fuzz` has more examples.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import settings

REQUIRE_ALL = os.environ.get("FORGE_REQUIRE_ALL", "") not in ("", "0")
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

settings.register_profile("fuzz", max_examples=20_000, deadline=None)
settings.register_profile("default", deadline=None)  # no test depends on the machine's speed
settings.load_profile("default")
# A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that was skipped has failed, where all are required."""
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file."""
    return _without_skips((yield))


def _without_skips(report: Report) -> Report:
    # What a kernel's own rules forbid (namespaces in a container) no package can mend.
    forbidden = report.skipped and "NOT PROVED: " in str(report.longrepr)
    if REQUIRE_ALL and report.skipped and not forbidden and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"FORGE_REQUIRE_ALL=1 allows no skip: {report.longrepr}"
    return report
