"""Fixtures of the whole suite: PostgreSQL servers that live as long as the session, fresh
databases.

Tests of packages that talk to PostgreSQL directly run on every server that this machine has; all
others, and what is slow, on the best one. `make test` uses only the best one, `make thorough` the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from forge_min.db import EmbeddedServer
from forge_min.db.embedded.binaries import Binaries, find, installed
from forge_min.testing import TestDatabase, fast_server
from forge_min.testing import fresh_database as make_fresh_database

pytest_plugins = [
    "artifact_runner",
    "dev_runner",
    "example_app",
    "pooler",
    "prometheus_runner",
    "standbys",
    "wide_project",
]

ON_EVERY_SERVER = ("db", "notify", "jobs", "migrations")
Starter = Callable[[Binaries], EmbeddedServer]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    tests = Path(__file__).parent
    place = Path(metafunc.definition.path).relative_to(tests).parts[0]
    found = installed() or [find()]
    slow = metafunc.definition.get_closest_marker("slow")
    others = found[1:] if place in ON_EVERY_SERVER and not slow else []
    chosen = [found[0], *(pytest.param(b, marks=pytest.mark.thorough) for b in others)]
    names = [f"pg{b.major}" for b in (found[0], *others)]
    metafunc.parametrize("server", chosen, indirect=True, scope="session", ids=names)


@pytest.fixture(scope="session")
def start_server() -> Iterator[Starter]:
    """Gives a running server of the session for some binaries; started when first asked for."""
    running: dict[Binaries, EmbeddedServer] = {}
    with ExitStack() as stack:

        def start(binaries: Binaries) -> EmbeddedServer:
            if binaries not in running:
                running[binaries] = stack.enter_context(fast_server(bin=binaries.folder))
            return running[binaries]

        yield start


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, start_server: Starter) -> EmbeddedServer:
    """A running PostgreSQL; shared by the session, so use `fresh_database` for anything you
    write.
    """
    return start_server(request.param)


@pytest.fixture
def fresh_database(server: EmbeddedServer) -> Iterator[TestDatabase]:
    """A database of this test alone: forge's migrations applied, `.owner_url`, `.app_url`."""
    with make_fresh_database(server) as database:
        yield database
