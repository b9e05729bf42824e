"""compose.yaml and the units of systemd: read by what reads them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from forge_min import __version__
from forge_min.config import load
from forge_min.ship import deploy

Compose = Callable[..., dict[str, dict[str, Any]]]
SECRETS = {"FORGE_AUTH_SECRET": "s" * 32, "APP_PASSWORD": "a1", "OWNER_PASSWORD": "o1"}
WHEEL = f"wheels/forge_min-{__version__}-py3-none-any.whl"  # a core of glibc does not fit alpine
UNITS = ("departures-worker.service", "departures.service", "departures.socket")
EXPOSED = 2.0  # of 10, as systemd-analyze security counts


@pytest.fixture
def services(project: Path, read_compose: Compose) -> dict[str, dict[str, Any]]:
    """Of compose.yaml, the secrets given."""
    assert deploy(project, base="alpine", also=["compose"]).written == (
        ".dockerignore",
        "Dockerfile",
        "compose.yaml",
        WHEEL,
    )
    return read_compose(project, **SECRETS)


def test_each_service_waits_until_what_it_needs_is_healthy(
    services: dict[str, dict[str, Any]],
) -> None:
    conditions = {
        name: {other: how["condition"] for other, how in told.get("depends_on", {}).items()}
        for name, told in services.items()
    }
    migrated = {"db": "service_healthy", "migrate": "service_completed_successfully"}
    assert conditions == {
        "db": {},
        "migrate": {"db": "service_healthy"},
        "app": migrated,
        "worker": migrated,
    }
    assert services["db"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert services["app"]["command"] == ["serve", "--no-jobs"]
    assert services["worker"]["command"] == ["worker"]


def test_the_image_has_a_name_without_capitals(project: Path, read_compose: Compose) -> None:
    toml = (project / "forge.toml").read_text()
    (project / "forge.toml").write_text(toml.replace('"departures"', '"Departures"'))
    deploy(project, also=["compose"])
    assert read_compose(project, **SECRETS)["app"]["image"] == "departures:0.1.0"


@pytest.mark.parametrize(
    ("name", "image"),
    [("shop-", "shop"), ("a..b", "a-b"), ("a-.b", "a-b"), ("a__b.C--d", "a-b-c-d")],
)
def test_the_image_has_a_name_that_an_image_may_have(
    project: Path, read_compose: Compose, name: str, image: str
) -> None:
    toml = (project / "forge.toml").read_text()
    (project / "forge.toml").write_text(toml.replace('"departures"', f'"{name}"'))
    deploy(project, also=["compose"])
    assert read_compose(project, **SECRETS)["app"]["image"] == f"{image}:0.1.0"


@pytest.mark.parametrize("role", ["a: b #x", "shop app", "it's", 'a"b', "a$b", "a/b@c"])
def test_any_role_reaches_the_application(project: Path, read_compose: Compose, role: str) -> None:
    with open(project / "forge.toml", "a") as file:
        file.write(f"[database]\napp_role = '''{role}'''\n")
    deploy(project, also=["compose"])
    services = read_compose(project, **SECRETS)
    for name in ("app", "migrate"):
        config = load(project, {"FORGE_ENV": "production", **services[name]["environment"]})
        assert config.database.app_role == role
        told = urlsplit(config.database.url)
        assert (unquote(told.username or ""), told.password, told.hostname) == (role, "a1", "db")


def test_the_ports_are_those_of_the_project(project: Path, read_compose: Compose) -> None:
    with open(project / "forge.toml", "a") as file:
        file.write("[server]\nport = 9000\n[admin]\nport = 9191\n")
    deploy(project, also=["compose", "systemd"])
    services = read_compose(project, **SECRETS)
    assert services["app"]["ports"] == ["127.0.0.1:9000:9000"]
    assert services["worker"]["environment"]["FORGE_ADMIN_PORT"] == "9191"
    assert "\nListenStream=127.0.0.1:9000\n" in (project / "systemd" / UNITS[2]).read_text()


def test_without_an_admin_server_none_is_asked_for(project: Path, read_compose: Compose) -> None:
    with open(project / "forge.toml", "a") as file:
        file.write("[admin]\nenabled = false\n")
    deploy(project, also=["compose"])
    environ = read_compose(project, **SECRETS)["worker"]["environment"]
    assert "FORGE_DATABASE_URL" in environ and "FORGE_ADMIN_PORT" not in environ


def test_the_database_keeps_its_rows_in_a_volume(
    services: dict[str, dict[str, Any]], project: Path
) -> None:
    assert services["db"]["volumes"] == ["database:/var/lib/postgresql"]
    assert "\nvolumes:\n  database:\n" in (project / "compose.yaml").read_text()


def test_only_migrate_knows_the_owner(
    services: dict[str, dict[str, Any]], tmp_path: Path, project: Path
) -> None:
    knowing = {name for name, told in services.items() if "o1" in str(told)}
    assert knowing == {"db", "migrate"}
    for name in ("migrate", "app", "worker"):  # the roles are those that the configuration asks for
        variables = {"FORGE_ENV": "production", **services[name]["environment"]}
        config = load(project, variables)
        assert config.database.app_role == "departures_app" and not config.warnings


@pytest.mark.parametrize("subnet", ["", "10.77.0.0/24"])
def test_the_proxy_in_front_is_trusted(project: Path, read_compose: Compose, subnet: str) -> None:
    deploy(project, also=["compose", "systemd"])
    environ = {**SECRETS, **({"SUBNET": subnet} if subnet else {})}
    app = read_compose(project, **environ)["app"]["environment"]
    config = load(project, {"FORGE_ENV": "production", **app})
    assert config.server.trusted_proxies == (subnet or "172.31.250.0/24",)
    text = (project / "systemd" / UNITS[1]).read_text()
    (line,) = re.findall(r"(?m)^Environment=.*TRUSTED_PROXIES.*", text)
    name, _, value = shlex.split(line.partition("=")[2])[0].partition("=")
    assert load(project, {name: value}).server.trusted_proxies == ("127.0.0.1",)


@pytest.mark.parametrize("name", SECRETS)
def test_compose_starts_nothing_without_a_secret(
    project: Path, read_compose: Compose, name: str
) -> None:
    deploy(project, also=["compose"])
    with pytest.raises(KeyError, match=name):
        read_compose(project, **{key: value for key, value in SECRETS.items() if key != name})
    assert f"${{{name}:?" in (project / "compose.yaml").read_text()


def test_a_service_gets_no_rights_it_does_not_need(services: dict[str, dict[str, Any]]) -> None:
    for name in ("migrate", "app", "worker"):
        told = services[name]
        assert told["read_only"] is True and told["cap_drop"] == ["ALL"]
        assert told["security_opt"] == ["no-new-privileges:true"]


@pytest.fixture
def units(project: Path) -> Path:
    """The folder of the units."""
    written = deploy(project, base="alpine", also=["systemd"]).written
    units = {f"systemd/{name}" for name in UNITS}
    assert set(written) == {".dockerignore", "Dockerfile", WHEEL, *units}
    return project / "systemd"


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze (Debian: systemd)")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_finds_no_fault_in_the_units(units: Path) -> None:
    for name in UNITS:  # what the manual says where it is installed is not asked
        said = systemd_analyze("verify", "--man=no", units / name)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    text = (units / UNITS[1]).read_text()
    (units / UNITS[1]).write_text(text.replace("Type=exec", "Type=forever"))
    assert "forever" in systemd_analyze("verify", "--man=no", units / UNITS[1]).stderr


@pytest.mark.parametrize("name", UNITS[:2])
def test_systemd_counts_the_units_as_hardened(units: Path, name: str) -> None:
    said = systemd_analyze("security", "--offline=true", "--no-pager", units / name)
    assert "\nDynamicUser=yes\n" in (units / name).read_text()
    found = re.search(r"exposure level for \S+: ([\d.]+)", said.stdout)
    assert found and float(found[1]) <= EXPOSED, said.stdout


def test_the_socket_goes_to_the_application_and_not_to_the_worker(units: Path) -> None:
    application = (units / "departures.service").read_text()
    assert "Requires=departures.socket\n" in application and "serve --no-jobs\n" in application
    worker = (units / "departures-worker.service").read_text()
    assert "socket" not in worker and ".pyz worker\n" in worker


def test_an_edited_unit_is_kept(project: Path, units: Path) -> None:
    (units / UNITS[0]).write_text("[Service]\n")
    with pytest.raises(Exception, match=f"systemd/{UNITS[0]}"):
        deploy(project, also=["systemd"])
    assert (units / UNITS[0]).read_text() == "[Service]\n"
