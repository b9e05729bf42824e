"""The Dockerfile that deploy writes, built by buildah and run as its numeric user on PostgreSQL.

Debian's variant, from a package index and from a vendor folder without a network. Not Alpine's: its
base image cannot be made here.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from forge_min import __version__
from forge_min.ship import deploy, vendor
from forge_min.testing import TestDatabase
from psycopg.conninfo import conninfo_to_dict

from artifact_runner import free_port
from image_runner import Buildah, Container, Image, url

pytestmark = [pytest.mark.image, pytest.mark.db]

BASES = ["--build-arg", "BUILD_IMAGE=localhost/base:build"]
BASES += ["--build-arg", "RUNTIME_IMAGE=localhost/base:run", "--pull-never"]
DEADLINE = 30.0  # seconds
ROOM = 25 << 20  # bytes that an image may add to its base


@pytest.fixture(scope="module", params=["vendor", "wheel"])
def tag(
    request: pytest.FixtureRequest,
    buildah: Buildah,
    packages: Path,
    fill_vendor: Callable[[Path], Path],
    copy_example: Callable[[Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The example's image: installed from a vendor folder in a network namespace of its own, or
    from the wheel that deploy packed and what an index gives.
    """
    project = copy_example(tmp_path_factory.mktemp(request.param) / "departures")
    made, offline = f"localhost/departures:{request.param}", request.param == "vendor"
    vendor = fill_vendor(project / "dist" / "vendor") if offline else None
    deploy(project, base="debian", vendor=vendor)
    given = [] if offline else ["--volume", f"{packages}:/packages:ro"]
    buildah.build(project, made, *BASES, *given, alone=offline)
    return made


@pytest.fixture(scope="module")
def image(buildah: Buildah, tag: str) -> Iterator[Image]:
    """It, mounted."""
    with buildah.mounted(tag) as mounted:
        yield mounted


@pytest.fixture
def environ(fresh_database: TestDatabase) -> dict[str, str]:
    """What a container gets, for `serve`."""
    return {
        "FORGE_DATABASE_URL": url(fresh_database.app_url),
        "FORGE_AUTH_SECRET": "for-tests-alone-0123456789abcdef0123456789",
        "FORGE_SERVER_PORT": str(free_port()),
        "FORGE_ADMIN_PORT": str(free_port()),
    }


def get(port: str, path: str) -> tuple[int, bytes]:
    conn = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def wait_for(container: Container, port: str, path: str) -> bytes:
    """The body of a 200, until the deadline."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and not container.ended:
        try:
            status, body = get(port, path)
        except OSError:
            status, body = 0, b""
        if status == 200:
            return body
        time.sleep(0.05)
    raise AssertionError(f"no 200 from {path}\n{container.log}")


def migrate(image: Image, environ: Mapping[str, str], database: TestDatabase) -> None:
    owner = {"FORGE_DATABASE_MIGRATE_URL": url(database.owner_url)}
    done = image.run(image.entry("migrate", "up"), {**environ, **owner})
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_answers_as_its_numeric_user_on_a_root_that_is_read_only(
    image: Image, environ: dict[str, str], fresh_database: TestDatabase, tmp_path: Path
) -> None:
    migrate(image, environ, fresh_database)
    health = image.config["Healthcheck"]["Test"]
    assert health[0] == "CMD"
    assert image.run(health[1:], environ).returncode != 0
    container = Container(image, image.entry(), environ, tmp_path / "log")
    try:
        told = json.loads(wait_for(container, environ["FORGE_ADMIN_PORT"], "/healthz"))
        assert (told["status"], told["impl"]) == ("ok", "c")
        wait_for(container, environ["FORGE_ADMIN_PORT"], "/readyz")
        assert b"<html" in wait_for(container, environ["FORGE_SERVER_PORT"], "/")
        rows = wait_for(container, environ["FORGE_SERVER_PORT"], "/api/v1/airports")
        assert json.loads(rows)["data"] == []
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert "Gid:\t10001\t10001\t10001\t10001" in status and "Groups:\t \n" in status
        assert image.run(health[1:], environ).returncode == 0
        assert container.stop() == 0, container.log
    finally:
        container.kill()


def test_nothing_in_it_can_be_written(image: Image) -> None:
    said = image.run(["python", "-c", "open('/tmp/x', 'w')"], {})
    assert "Read-only file system" in said.stderr


def test_it_adds_little_to_its_base(image: Image, base: Image) -> None:
    added = image.added(base)
    print(f"added: {added / 1e6:.1f} MB")
    assert 1 << 20 < added <= ROOM


def test_it_holds_neither_compiler_nor_sources_nor_pip(image: Image) -> None:
    for name in ("src", "vendor", "usr/bin/gcc", "usr/bin/pip"):
        assert not (image.root / name).exists()
    assert image.config["Labels"]["org.opencontainers.image.title"] == "departures"


SECRETS = [".git/config", "static/.git/config", ".env", ".env.local", "resources/.env", "tls.key"]
SECRETS += [
    "static/tls.pem",
    "secrets/token",
    "secrets.toml",
    "site.dump",
    ".ssh/id_ed25519",
    ".pgpass",
]
SECRETS += ["dist/old.pyz", "tests/data.json", "dist/vendor/notes"]
WANTED = ["app.py", "forge.toml", "resources/secrets/schema.py", "dist/vendor/requirements.lock"]
WANTED += [f"dist/vendor/wheelhouse/forge_min-{__version__}-py3-none-any.whl"]


def test_secrets_and_history_do_not_reach_a_build(
    buildah: Buildah, project: Path, tmp_path: Path
) -> None:
    vendor(project, output=project / "dist" / "vendor", offline=True)
    for name in [*SECRETS, WANTED[2]]:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    deploy(project, vendor=project / "dist" / "vendor")
    (tmp_path / "Containerfile").write_text("FROM scratch\nCOPY . /src\n")
    buildah.build(project, "localhost/context:test", "--file", str(tmp_path / "Containerfile"))
    with buildah.mounted("localhost/context:test") as image:
        source = image.root / "src"
        found = {path.relative_to(source).as_posix() for path in source.rglob("*")}
    assert found >= set(WANTED)
    assert not found & set(SECRETS)


def test_compose_starts_what_the_image_has(
    image: Image,
    project: Path,
    read_compose: Callable[..., dict[str, dict[str, Any]]],
    fresh_database: TestDatabase,
    tmp_path: Path,
) -> None:
    deploy(project, also=["compose"])
    owner = conninfo_to_dict(fresh_database.owner_url)
    port, admin = str(free_port()), {"app": str(free_port()), "worker": str(free_port())}
    given = {"FORGE_AUTH_SECRET": "0123456789abcdef" * 3, "APP_PASSWORD": "apps"}
    given["OWNER_PASSWORD"] = str(owner["password"])
    services = read_compose(project, **given)
    place = f"@{owner['host']}:{owner['port']}/{owner['dbname']}"

    def environ_of(name: str, **more: str) -> dict[str, str]:
        told = services[name]["environment"]
        return {key: value.replace("@db:5432/site", place) for key, value in told.items()} | more

    done = image.run(image.entry(*services["migrate"]["command"]), environ_of("migrate"))
    assert done.returncode == 0, done.stdout + done.stderr
    running = []
    try:
        for name in ("app", "worker"):
            more = {"FORGE_SERVER_PORT": port, "FORGE_ADMIN_PORT": admin[name]}
            environ = environ_of(name, **more)
            command = image.entry(*services[name]["command"])
            running.append(Container(image, command, environ, tmp_path / name))
            wait_for(running[-1], admin[name], "/readyz")
        assert b"<html" in wait_for(running[0], port, "/")
        assert [container.stop() for container in running] == [0, 0]
    finally:
        for container in running:
            container.kill()
