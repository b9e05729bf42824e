"""Fixtures of the whole suite: PostgreSQL servers that live as long as the session, fresh
databases.

Tests of packages that talk to PostgreSQL directly run on every server that this machine has; all
others, and what is slow, on the best one. `make test` uses only the best one, `make thorough` the
others. Servers are set up for speed, except that tests of jobs run on the others as they are
installed: with JIT, fsync and 100 connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
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
AS_INSTALLED = ("jobs",)
Starter = Callable[..., EmbeddedServer]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    tests = Path(__file__).parent
    place = Path(metafunc.definition.path).relative_to(tests).parts[0]
    found = installed() or [find()]
    slow = metafunc.definition.get_closest_marker("slow")
    others = found[1:] if place in ON_EVERY_SERVER and not slow else []
    quick = place not in AS_INSTALLED
    chosen = [
        (found[0], True),
        *(pytest.param((b, quick), marks=pytest.mark.thorough) for b in others),
    ]
    names = [f"pg{found[0].major}"]
    names += [f"pg{b.major}" if quick else f"pg{b.major}-as-installed" for b in others]
    metafunc.parametrize("server", chosen, indirect=True, scope="session", ids=names)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Gives a running server of the session for some binaries; started when first asked for.

    quick: set up for tests; else as PostgreSQL is installed.
    """
    running: dict[tuple[Binaries, bool], EmbeddedServer] = {}
    with ExitStack() as stack:

        def start(binaries: Binaries, quick: bool = True) -> EmbeddedServer:
            made: AbstractContextManager[EmbeddedServer]
            if (binaries, quick) not in running:
                if quick:
                    made = fast_server(bin=binaries.folder)
                else:
                    data = tmp_path_factory.mktemp("installed") / "pg"
                    made = EmbeddedServer(data, bin=binaries.folder)
                running[binaries, quick] = stack.enter_context(made)
            return running[binaries, quick]

        yield start


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, start_server: Starter) -> EmbeddedServer:
    """A running PostgreSQL; shared by the session, so use `fresh_database` for anything you
    write.
    """
    return start_server(*request.param)


@pytest.fixture
def fresh_database(server: EmbeddedServer) -> Iterator[TestDatabase]:
    """A database of this test alone: forge's migrations applied, `.owner_url`, `.app_url`."""
    with make_fresh_database(server) as database:
        yield database
