"""A cluster under Patroni, and a site on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from forge_min.ship import deploy

from artifact_runner import EXAMPLE, Site
from cluster import Cluster, cluster


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the files of deploy."""
    root = tmp_path_factory.mktemp("deployed") / "departures"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    deploy(root, also=["patroni", "haproxy"])
    return root


@pytest.fixture
def servers(deployed: Path) -> Iterator[Cluster]:
    with cluster((deployed / "patroni" / "patroni.yml").read_text()) as made:
        yield made


@pytest.fixture
def site(servers: Cluster, artifact: Path, tmp_path: Path) -> Iterator[Site]:
    with psycopg.connect(servers.url("postgres", "postgres"), autocommit=True) as conn:
        conn.execute("create role app login password 'app'")
        conn.execute("create database departures")
    made = Site(artifact, None, tmp_path)
    made.environ |= {
        "FORGE_DATABASE_URL": servers.url("app", "departures"),
        "FORGE_DATABASE_MIGRATE_URL": servers.url("postgres", "departures"),
        "FORGE_SERVER_THREADS": "8",
    }
    try:
        yield made
    finally:
        made.stop()
