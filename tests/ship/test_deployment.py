"""The files for an image: linted by hadolint, and never written over an edit.

tests/ship/image builds and runs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Literal

import forge_min
import pytest
from forge_min.errors import BuildError
from forge_min.fanout import IMPL
from forge_min.ship import deploy
from forge_min.ship.artifact.package import package_files, package_root
from forge_min.ship.project import project_members, secret_names

from ship.test_vendor_wheelhouse import fill
from wheels import alter, make_wheel

needs_core = pytest.mark.skipif(IMPL != "c", reason="no core is compiled here")
BASES: list[Literal["alpine", "debian"]] = ["alpine", "debian"]


@pytest.fixture
def vendor(project: Path) -> Path:
    """A folder as `vendor` makes it, as far as deploy looks."""
    names = ("forge-min", "opentelemetry-api", "opentelemetry-sdk", "psycopg", "psycopg-binary")
    fill(project, *map(make_wheel, names))
    (project / "dist").mkdir()
    return (project / "vendor").rename(project / "dist" / "vendor")


@pytest.mark.parametrize("vendored", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_hadolint_has_nothing_to_say(
    project: Path, base: Literal["alpine", "debian"], vendor: Path, vendored: bool
) -> None:
    deploy(project, base=base, vendor=vendor if vendored else None)
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run(
        [hadolint, project / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, "")


def instructions(project: Path) -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continued lines joined."""
    text = (project / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@pytest.mark.parametrize("base", BASES)
def test_the_image_runs_as_nobody_and_without_a_shell(
    project: Path, base: Literal["alpine", "debian"]
) -> None:
    deploy(project, base=base)
    said = dict(instructions(project))
    assert all(part.isdecimal() and int(part) for part in said["USER"].split(":"))
    assert json.loads(said["ENTRYPOINT"]) == ["python", "/app"]
    assert json.loads(said["HEALTHCHECK"].partition("CMD ")[2])[:2] == ["python", "-c"]
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert "org.opencontainers.image.title" in said["LABEL"]


@pytest.mark.parametrize("base", BASES)
def test_both_base_images_are_arguments(project: Path, base: Literal["alpine", "debian"]) -> None:
    deploy(project, base=base)
    images = [rest for name, rest in instructions(project) if name == "FROM"]
    assert images == ["${BUILD_IMAGE} AS build", "${RUNTIME_IMAGE}"]


def test_where_no_core_here_fits_the_base_the_wheel_has_none(project: Path) -> None:
    done = deploy(project, base="alpine")
    wheel = f"wheels/forge_min-{forge_min.__version__}-py3-none-any.whl"
    assert (done.source, done.place) == ("pure", f"/{wheel}[c]") and wheel in done.written
    said = instructions(project)
    build = said[said.index(("FROM", "${BUILD_IMAGE} AS build")) :]
    assert any(name == "ENV" and "FORGE_REQUIRE_EXT=1" in rest for name, rest in build)
    assert ("ARG", f"FORGE_MIN={done.place}") in build
    (install,) = [rest for name, rest in build if "pip install" in rest]
    assert "FORGE_IMPL=c" not in install and ("COPY", "wheels /wheels") in build
    assert ("RUN", "python -m forge_min build --format dir --output /artifact") in build


@needs_core
def test_by_default_the_installed_package_goes_in_as_a_wheel_that_pip_installs(
    project: Path, tmp_path: Path
) -> None:
    done = deploy(project, base="debian")
    assert done.source == "wheel" and done.place.startswith("/wheels/forge_min-")
    (wheel,) = (project / "wheels").iterdir()
    assert done.place == f"/wheels/{wheel.name}[c]"
    said = instructions(project)
    assert ("COPY", "wheels /wheels") in said and ("ARG", f"FORGE_MIN={done.place}") in said
    assert in_context(project)(f"wheels/{wheel.name}")
    # As the image installs it, but for what an index has.
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    given = ["--no-index", "--no-deps", "--target", str(target), f"{wheel}[c]"]
    subprocess.run([*pip, *given], check=True, capture_output=True)
    code = "import forge_min.fanout as f; print(f.__file__, f.IMPL)"
    environ = {"PYTHONPATH": str(target), "FORGE_IMPL": "c"}
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path, env=environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert loaded.stdout.split() == [str(target / "forge_min" / "fanout.py"), "c"]
    # A wheel is no text that a person edits: it is made anew.
    alter(wheel)
    with pytest.raises(BuildError, match="wheels/forge_min-") as caught:
        deploy(project, base="debian", check=True)
    assert caught.value.code == "F361"
    assert deploy(project, base="debian").written == (f"wheels/{wheel.name}",)


@pytest.mark.parametrize("base", BASES)
def test_the_projects_own_vendor_folder_is_taken_if_the_base_can_load_its_core(
    project: Path, base: Literal["alpine", "debian"], vendor: Path
) -> None:
    vendor.rename(project / "vendor")
    assert deploy(project, base=base).source != "vendor"  # forge_min without a core
    libc = "musllinux_1_2" if base == "alpine" else "manylinux_2_28"
    names = ("opentelemetry-api", "opentelemetry-sdk", "psycopg", "psycopg-binary")
    own = make_wheel("forge-min", "1.0", f"cp313-cp313-{libc}_x86_64")
    fill(project, own, *map(make_wheel, names))
    (project / "vendor/wheelhouse/forge_min-1.0-py3-none-any.whl").unlink()
    done = deploy(project, base=base)
    assert (done.source, done.place) == ("vendor", "vendor")
    assert ("COPY", "vendor/wheelhouse /vendor/wheelhouse") in instructions(project)


@pytest.mark.parametrize("base", BASES)
def test_with_a_vendor_folder_nothing_comes_from_a_network(
    project: Path, base: Literal["alpine", "debian"], vendor: Path
) -> None:
    deploy(project, base=base, vendor=vendor)
    said = instructions(project)
    runs = [rest for name, rest in said if name == "RUN"]
    assert len(runs) == 2 and "--no-index" in runs[0] and "--require-hashes" in runs[0]
    assert ("COPY", "dist/vendor/wheelhouse /vendor/wheelhouse") in said
    ignored = (project / ".dockerignore").read_text().splitlines()
    assert ignored.index("dist") < ignored.index("!dist/vendor/wheelhouse")


@pytest.mark.parametrize("vendored", [False, True])
def test_a_build_without_the_compiled_core_stops(
    project: Path, vendor: Path, vendored: bool
) -> None:
    deploy(project, vendor=vendor if vendored else None)
    (install,) = [rest for name, rest in instructions(project) if "pip install" in rest]
    assert install.endswith('&& FORGE_IMPL=c python -c "import forge_min.fanout"')


@pytest.mark.parametrize(
    "missing",
    [
        "requirements.lock",
        "wheelhouse/forge_min-1.0-py3-none-any.whl",
        "wheelhouse/psycopg_binary-1.0-py3-none-any.whl",
    ],
)
def test_a_vendor_folder_that_lacks_something_is_refused(
    project: Path, vendor: Path, missing: str
) -> None:
    (vendor / missing).unlink()
    with pytest.raises(BuildError, match=missing.partition("-")[0]) as caught:
        deploy(project, vendor=vendor)
    assert caught.value.code == "F362" and "forge-min vendor" in str(caught.value.hint)
    assert not (project / "Dockerfile").exists()


def test_a_vendor_folder_outside_the_context_is_refused(
    project: Path, vendor: Path, tmp_path: Path
) -> None:
    for name in ("outside", "departures/a b"):
        vendor = vendor.rename(tmp_path / name)
        with pytest.raises(BuildError, match="context") as caught:
            deploy(project, vendor=vendor)
        assert caught.value.code == "F362"


def test_a_way_that_leads_out_of_the_context_is_refused(
    project: Path, vendor: Path, tmp_path: Path
) -> None:
    outside = vendor.rename(tmp_path / "outside")
    (project / "linked").symlink_to(outside)
    (project / "half").mkdir()
    (project / "half" / "requirements.lock").write_bytes(
        (outside / "requirements.lock").read_bytes()
    )
    (project / "half" / "wheelhouse").symlink_to(outside / "wheelhouse")
    for name in ("dist/../../outside", "linked", "half"):
        with pytest.raises(BuildError, match="context") as caught:
            deploy(project, vendor=project / name)
        assert caught.value.code == "F362"


def test_a_way_about_is_written_as_the_straight_one(project: Path, vendor: Path) -> None:
    deploy(project, vendor=project / "dist" / ".." / "dist" / "vendor")
    assert ("COPY", "dist/vendor/wheelhouse /vendor/wheelhouse") in instructions(project)


def test_an_altered_wheel_is_refused(project: Path, vendor: Path) -> None:
    alter(vendor / "wheelhouse" / "psycopg-1.0-py3-none-any.whl")
    with pytest.raises(BuildError, match="psycopg-1.0") as caught:
        deploy(project, vendor=vendor)
    assert caught.value.code == "F371"


def configure(project: Path, text: str) -> None:
    """More of forge.toml."""
    with open(project / "forge.toml", "a") as file:
        file.write(text)


def test_the_ports_are_those_of_the_project(project: Path) -> None:
    configure(project, "[server]\nport = 9000\n[admin]\nport = 9191\n")
    deploy(project)
    said = dict(instructions(project))
    assert said["EXPOSE"] == "9000"
    assert asked(said["HEALTHCHECK"], {}) == "http://127.0.0.1:9191/healthz"
    assert asked(said["HEALTHCHECK"], {"FORGE_ADMIN_PORT": "1"}) == "http://127.0.0.1:1/healthz"
    assert not any("_PORT=" in rest for name, rest in instructions(project) if name == "ENV")


def test_any_port_is_a_known_one_in_an_image(project: Path) -> None:
    configure(project, "[server]\nport = 0\n[admin]\nport = 0\n")
    deploy(project)
    (run,) = [rest for name, rest in instructions(project) if rest.startswith("FORGE_ENV=")]
    assert {"FORGE_SERVER_PORT=8000", "FORGE_ADMIN_PORT=9090"} <= set(run.split())
    assert dict(instructions(project))["EXPOSE"] == "8000"


def test_without_an_admin_server_nobody_asks_for_its_health(project: Path) -> None:
    configure(project, "[admin]\nenabled = false\n")
    deploy(project)
    assert dict(instructions(project))["HEALTHCHECK"] == "NONE"


def asked(check: str, environ: dict[str, str]) -> str:
    """The URL that the health check opens."""
    code = json.loads(check.partition("CMD ")[2])[2]
    told = "import io, urllib.request as r; r.urlopen = lambda u, timeout: print(u) or io.BytesIO()"
    command = [sys.executable, "-c", f"{told}\n{code}"]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_health_check_is_python_that_compiles(project: Path) -> None:
    deploy(project)
    said = dict(instructions(project))
    compile(json.loads(said["HEALTHCHECK"].partition("CMD ")[2])[2], "healthcheck", "exec")


def pattern(line: str) -> re.Pattern[str]:
    """A line of .dockerignore, as Docker's documentation of it says."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    found = re.split(r"(\*\*/|\*\*|\*|\?)", line.strip("/"))
    return re.compile("".join(parts.get(part) or re.escape(part) for part in found) + r"(?:/.*)?")


def in_context(project: Path) -> Callable[[str], bool]:
    """Whether a file gets into the image's context: the last line that fits decides. What is in a
    folder that does not, only where a line with "!" begins with that folder.
    """
    lines = (project / ".dockerignore").read_text().splitlines()
    rules = [
        (pattern(line.lstrip("!")), line[0] == "!") for line in lines if line and line[0] != "#"
    ]

    def fits(name: str) -> bool:
        said = [again for rule, again in rules if rule.fullmatch(name)]
        return not said or said[-1]

    def enters(name: str) -> bool:
        folders = [
            f"{folder}/" for folder in map(str, PurePosixPath(name).parents) if folder != "."
        ]
        closed = [folder for folder in folders if not fits(folder.rstrip("/"))]
        looked = all(any(f"{w[1:]}/".startswith(f) for w in lines if w[:1] == "!") for f in closed)
        return looked and fits(name)

    return enters


KEPT_OUT = """
.env .env.local prod.env conf/prod.env .envrc credentials.json deep/er/service-account.json .npmrc
.git-credentials .htpasswd conf/htpasswd .docker/config.json .kube/config kubeconfig release.jks
team.kdbx server.key server.pem client.p12 db.sqlite3 db.sqlite3-wal app.db backup.sql dump.sql.gz
conf/secrets/x secrets/x secrets.yaml conf/passwords.txt .ssh/id_rsa id_ed25519 aws/credentials
.aws/credentials .netrc .pgpass .pypirc terraform.tfstate prod.tfvars client_secret_12.json
token.txt api_key.txt .git/config sub/.git/config .venv/lib/x.py tests/test_a.py tests/prod.env
dist/shop.pyz dist/vendor/SHA256SUMS gen/__pycache__/x.pyc migrations/backup.sql.gz
migrations/old/all.sql resources/secrets/prod.env _vendor/prod.env
"""
NEEDED = """
app.py forge.toml prices.py credentials/__init__.py migrations/0001_a.sql _vendor/forge_min/db/a.sql
resources/item/schema.py resources/secrets/schema.py resources/secrets/views/list.html
resources/credential/actions.py views/home.html static/css/input.css static/tokens.json
locale/de/messages.mo dist/vendor/requirements.lock
dist/vendor/wheelhouse/psycopg-1.0-py3-none-any.whl
"""


def test_secrets_and_history_stay_out_and_what_is_built_from_goes_in(
    project: Path, vendor: Path
) -> None:
    deploy(project, vendor=vendor)
    enters = in_context(project)
    assert [name for name in KEPT_OUT.split() if enters(name)] == []
    assert [name for name in NEEDED.split() if not enters(name)] == []
    package = package_files(package_root())
    assert [name for name in package if not enters(f"_vendor/{name}")] == []
    own = [name for name in project_members(project) if not name.startswith("gen/")]
    assert len(own) > 5 and [name for name in own if not enters(name)] == []


def test_what_static_must_not_hold_stays_out_of_an_image_too(project: Path) -> None:
    deploy(project)
    enters = in_context(project)
    names = [name.replace("*", "x") for name in secret_names()]
    assert len(names) > 100
    assert [n for n in names if enters(n) or enters(f"conf/{n}")] == []


def test_the_projects_own_vendor_folder_enters_only_an_image_that_is_installed_from_it(
    project: Path, vendor: Path
) -> None:
    names = ("vendor/requirements.lock", "vendor/wheelhouse/psycopg-1.0-py3-none-any.whl")
    for other in (None, vendor):  # psycopg-c and a core of the image's own are in no lock
        deploy(project, vendor=other)
        assert [name for name in names if in_context(project)(name)] == []
    deploy(project, vendor=vendor.rename(project / "vendor"))
    assert all(map(in_context(project), names))
    assert in_context(project)("resources/vendor/schema.py")


def test_a_second_time_writes_nothing(project: Path) -> None:
    first = deploy(project, base="alpine")
    again = deploy(project, base="alpine")
    assert again.written == ()
    assert again.unchanged == first.written and len(first.written) == 3


def test_our_own_older_file_is_renewed(project: Path) -> None:
    deploy(project, base="debian")
    assert "Dockerfile" in deploy(project, base="alpine").written


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_an_edited_file_is_kept_unless_forced(project: Path, name: str) -> None:
    deploy(project)
    edited = (project / name).read_text() + "# mine\n"
    (project / name).write_text(edited)
    with pytest.raises(BuildError, match=name) as caught:
        deploy(project, base="debian")
    assert caught.value.code == "F360"
    assert (project / name).read_text() == edited
    assert deploy(project, force=True).written == (name,)


@pytest.mark.parametrize("leads", ["nowhere/shared.yaml", "."])
def test_a_link_that_leads_to_no_file_is_kept_unless_forced(project: Path, leads: str) -> None:
    link = project / "compose.yaml"
    link.symlink_to(leads)
    with pytest.raises(BuildError, match=r"compose\.yaml") as caught:
        deploy(project, also=["compose"])
    assert caught.value.code == "F360" and link.is_symlink()
    with pytest.raises(BuildError, match=r"compose\.yaml"):
        deploy(project, also=["compose"], check=True)
    assert "compose.yaml" in deploy(project, also=["compose"], force=True).written
    assert link.is_file() and not link.is_symlink()


def test_one_edited_file_keeps_the_other_from_being_written(project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(BuildError):
        deploy(project)
    assert not (project / ".dockerignore").exists()


def test_check_tells_drift_and_writes_nothing(project: Path) -> None:
    with pytest.raises(BuildError, match=r"\.dockerignore, Dockerfile") as caught:
        deploy(project, check=True)
    assert caught.value.code == "F361"
    assert not (project / "Dockerfile").exists()
    deploy(project)
    assert deploy(project, check=True).written == ()
    (project / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(BuildError):
        deploy(project, check=True)


def test_check_tells_an_edit_of_line_ends(project: Path) -> None:
    deploy(project)
    data = (project / "Dockerfile").read_bytes()
    (project / "Dockerfile").write_bytes(data.replace(b"\n", b"\r\n"))
    with pytest.raises(BuildError, match="Dockerfile") as caught:
        deploy(project, check=True)
    assert caught.value.code == "F361"
    with pytest.raises(BuildError, match="Dockerfile") as caught:
        deploy(project)
    assert caught.value.code == "F360"


def test_a_place_that_cannot_be_written_is_one_error(project: Path) -> None:
    (project / "Dockerfile").mkdir()
    with pytest.raises(BuildError) as caught:
        deploy(project)
    assert caught.value.code == "F002"
    assert caught.value.hint == "the previous file is unchanged"
    assert (project / "Dockerfile").is_dir()
