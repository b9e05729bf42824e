"""The commands that make things: init, generate, migrate diff, build, deploy, and config."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Cli, environment

WRONG = """\
from forge_min import schema

item = schema.define("Item", schema.strin("name"), schema.string("name", max_len="x"))
"""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }


def test_a_new_project_is_whole_from_the_start(cli: Cli, project: Path) -> None:
    assert cli("generate", "--check", cwd=project).returncode == 0
    done = cli("migrate", "diff", "--help", cwd=project)
    assert done.returncode == 0
    assert list((project / "migrations").glob("0001_*.sql"))
    assert (project / "resources/item/actions.py").is_file()
    rows = json.loads(cli("routes", "--json", cwd=project).stdout)
    assert {"method": "POST", "pattern": "/api/v1/items", "name": "items.create"} in rows


@pytest.mark.parametrize("served", ["true", "false"])
def test_the_document_of_the_api_is_printed_whether_or_not_it_is_served(
    cli: Cli, project: Path, served: str
) -> None:
    done = cli("openapi", cwd=project, FORGE_API_DOCS=served)
    made = json.loads(done.stdout)
    assert made["openapi"] == "3.1.0" and made["info"]["title"] == "shop"
    rows = json.loads(cli("routes", "--json", cwd=project).stdout)
    api = {row["pattern"] for row in rows if row["pattern"].startswith("/api/v1/")}
    assert api and api <= made["paths"].keys()
    assert json.loads(cli("openapi", "--json", cwd=project).stdout) == made


def test_routes_and_openapi_include_the_account_pages_and_the_readiness_path(
    cli: Cli, project: Path
) -> None:
    app = project / "app.py"
    declared = "app.sign_in()\n\n\n@app.password_reset_sender\ndef send(user, path):\n    pass\n"
    app.write_text(f"{app.read_text()}\n{declared}")
    rows = json.loads(cli("routes", "--json", cwd=project).stdout)
    paths = {f"{row['method']} {row['pattern']}" for row in rows}
    account = ("account", "account/sign-in", "account/forgot", "account/reset")
    assert {f"GET /{path}" for path in (*account, "readyz")} <= paths
    document = json.loads(cli("openapi", cwd=project).stdout)
    assert "session" in document["components"]["securitySchemes"]
    without = cli("routes", cwd=project, FORGE_SERVER_READY_PATH="").stdout
    assert "/account" in without and "/readyz" not in without


@pytest.mark.parametrize("name", ["Shop", "1shop", "../shop", "shop/x", "", "a b"])
def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_written(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    done = cli("init", name)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_never_touches_a_folder_that_holds_something(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").write_text("mine")
    done = cli("init", "shop")
    assert done.returncode == 2
    assert snapshot(tmp_path) == {"shop/mine": b"mine"}


def test_wrong_schemas_are_all_shown_with_their_places_and_nothing_is_written(
    cli: Cli, project: Path
) -> None:
    (project / "resources/item/schema.py").write_text(WRONG)
    before = snapshot(project)
    for command in (
        ["generate"],
        ["build"],
        ["migrate", "diff"],
        ["generate", "resource", "Item"],
    ):
        done = cli(*command, cwd=project)
        assert done.returncode == 1, command
        assert len(re.findall(r"^error\[F1\d\d\]: ", done.stderr, re.M)) >= 2
        assert "resources/item/schema.py:3:" in done.stderr and "^" in done.stderr
        assert "\x1b" not in done.stderr and "Traceback" not in done.stderr
        assert done.stdout == ""
    assert snapshot(project) == before


def test_wrong_schemas_are_told_as_json(cli: Cli, project: Path) -> None:
    (project / "resources/item/schema.py").write_text(WRONG)
    done = cli("generate", "--json", cwd=project)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)["diagnostics"]
    assert len(found) >= 2
    page = Path(__file__).parents[2] / "docs" / "reference" / "diagnostics.md"
    (shown,) = re.findall(r'"diagnostics": \[\{([^}]*)\}', page.read_text())
    assert set(found[0]) == set(shown.replace("\n", " ").split(", "))
    assert (found[0]["line"], found[0]["col"]) == (3, 30)


def test_wrong_schemas_are_told_as_json_by_migrate_too(cli: Cli, project: Path) -> None:
    schema = project / "resources/item/schema.py"
    schema.write_text(schema.read_text().replace("schema.bool(", "schema.bol("))
    done = cli("migrate", "diff", "--json", cwd=project)
    assert done.returncode == 1 and json.loads(done.stdout)["diagnostics"][0]["code"] == "F105"


def test_wrong_schemas_are_shown_by_manual_and_nothing_is_written(cli: Cli, project: Path) -> None:
    schema = project / "resources" / "item" / "schema.py"
    schema.write_text(schema.read_text().replace("schema.bool(", "schema.boole("))
    done = cli("manual", cwd=project)
    assert done.returncode == 1 and "F105" in done.stderr and "did you mean" in done.stderr
    assert "Traceback" not in done.stderr and not (project / "manual").exists()


def test_names_that_no_database_could_hold_are_told_before_anything_is_written(
    cli: Cli, project: Path
) -> None:
    schema = project / "resources/item/schema.py"
    schema.write_text(schema.read_text().replace('"title", ', '"title", unique=True, '))
    (project / "resources/key").mkdir()
    (project / "resources/key/schema.py").write_text(
        "from forge_min import schema\n\n"
        'key = schema.define("Key", schema.int("n"), plural="items_title_key")\n'
    )
    before = snapshot(project)
    for command in (["generate"], ["generate", "--check"]):
        done = cli(*command, cwd=project)
        assert done.returncode == 1 and done.stderr.startswith("error[F330]: "), done.stderr
    assert snapshot(project) == before


def test_check_fails_when_gen_is_stale_and_writes_nothing(cli: Cli, project: Path) -> None:
    schema = project / "resources/item/schema.py"
    schema.write_text(schema.read_text().replace("max_len=", "max_len=1"))
    before = snapshot(project)
    done = cli("generate", "--check", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("error[F305]: ") and "hint: " in done.stderr
    assert snapshot(project) == before
    done = cli("generate", "--json", cwd=project)
    assert done.returncode == 0 and json.loads(done.stdout)["written"]
    assert cli("generate", "--check", cwd=project).returncode == 0


@pytest.mark.thorough
def test_the_files_of_a_new_resource_are_written_once(cli: Cli, project: Path) -> None:
    folder = project / "resources" / "pet"
    folder.mkdir()
    (folder / "schema.py").write_text(
        'from forge_min import schema\n\npet = schema.define("Pet", schema.string("name"))\n'
    )
    assert cli("generate", "resource", "Nothing", cwd=project).returncode == 2
    assert cli("generate", "resource", "Pet", cwd=project).returncode == 0
    (folder / "actions.py").write_text(mine := (folder / "actions.py").read_text() + "# mine\n")
    for command in (["generate", "resource", "Pet"], ["generate"]):
        assert cli(*command, cwd=project).returncode == 0
    assert (folder / "actions.py").read_text() == mine
    assert "/api/v1/pets" in cli("routes", cwd=project).stdout
    views = ("generate", "resource", "Pet", "--views")
    for command, state in ((views, "missing"), ((*views, "--force"), "replaced")):
        done = cli(*command, cwd=project).stdout
        assert f"wrote resources/pet/views/form.html: it was {state}\n" in done


def test_generate_writes_the_users_files_that_gen_needs(cli: Cli, project: Path) -> None:
    (project / "resources/item/actions.py").unlink()
    assert cli("generate", cwd=project).returncode == 0
    assert cli("routes", cwd=project).returncode == 0


def test_the_first_migration_needs_no_database(cli: Cli, project: Path) -> None:
    for path in (project / "migrations").iterdir():
        path.unlink()
    done = cli("migrate", "diff", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["path"]).parent == project / "migrations"
    assert "create table items" in answer["changes"]


@pytest.mark.thorough
@pytest.mark.db
def test_a_later_migration_is_compared_in_a_database(
    cli: Cli, project: Path, fresh_database
) -> None:
    environ = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
    }
    done = cli("migrate", "diff", cwd=project, **environ)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stderr
    schema = project / "resources/item/schema.py"
    text = schema.read_text()
    schema.write_text(text.replace("schema.timestamps", 'schema.text("extra"), schema.timestamps'))
    assert schema.read_text() != text
    done = cli("migrate", "diff", "add extra", cwd=project, **environ)
    assert done.returncode == 0, done.stderr
    assert (project / "migrations" / "0002_add_extra.sql").is_file()


@pytest.mark.db
@pytest.mark.thorough
def test_a_destructive_step_needs_a_flag_and_a_rename_is_told(
    cli: Cli, project: Path, fresh_database
) -> None:
    environ = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
    }
    schema = project / "resources/item/schema.py"
    schema.write_text(schema.read_text().replace('schema.string("title"', 'schema.string("name"'))
    before = snapshot(project)
    done = cli("migrate", "diff", cwd=project, **environ)
    assert done.returncode == 1 and done.stderr.startswith("error[F335]"), done.stderr
    assert "--rename items.title=name" in done.stderr and "--drop items.title" in done.stderr
    done = cli("migrate", "diff", "--drop", "items.title", cwd=project, **environ)
    assert done.returncode == 1 and "error[F33" in done.stderr, done.stderr
    assert snapshot(project) == before
    done = cli("migrate", "diff", "--rename", "items.title=name", "--json", cwd=project, **environ)
    assert done.returncode == 0, done.stderr
    assert "rename column title" in " ".join(json.loads(done.stdout)["changes"])
    assert cli("migrate", "up", cwd=project, **environ).returncode == 0


@pytest.mark.db
def test_the_examples_migrations_are_complete(cli: Cli, tmp_path: Path, fresh_database) -> None:
    environ = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
    }
    example = Path(__file__).parents[2] / "examples" / "departures"
    copy = Path(shutil.copytree(example, tmp_path / "departures"))
    done = cli("migrate", "diff", cwd=copy, **environ)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.db
def test_migrate_up_status_and_down_reach_the_database(
    cli: Cli, project: Path, fresh_database
) -> None:
    environ = {
        "FORGE_DATABASE_URL": fresh_database.app_url,
        "FORGE_DATABASE_MIGRATE_URL": fresh_database.owner_url,
    }
    assert cli("migrate", "status", cwd=project, **environ).returncode == 1
    done = cli("migrate", "up", "--json", cwd=project, **environ)
    assert done.returncode == 0, done.stderr
    assert any("0001" in name for name in json.loads(done.stdout)["applied"])
    rows = json.loads(cli("--json", "migrate", "status", cwd=project, **environ).stdout)
    assert {row["state"] for row in rows} == {"applied"}
    assert cli("migrate", "down", cwd=project, **environ).returncode == 0
    assert cli("migrate", "status", cwd=project, **environ).returncode == 1


def test_an_unreachable_database_is_one_clear_error(cli: Cli, project: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/none"
    done = cli("migrate", "status", cwd=project, FORGE_DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("error[F4") and "hint: " in done.stderr
    assert "Traceback" not in done.stderr and "hunter2" not in done.stderr


@pytest.mark.thorough
def test_build_names_its_steps_with_times_in_text_and_json(cli: Cli, project: Path) -> None:
    done = cli("build", "--offline", cwd=project)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    *steps, last = done.stdout.splitlines()
    assert len(steps) >= 3 and all(re.fullmatch(r"\w+ +\d+\.\d\d s", step) for step in steps)
    artifact = project / "dist" / "shop.pyz"
    assert last.startswith(f"{artifact}  ") and artifact.is_file()
    answer = json.loads(cli("build", "--json", "-o", "other.pyz", cwd=project).stdout)
    assert answer["size"] > 1e6 and answer["steps"].keys() == {s.split()[0] for s in steps}
    assert (project / "other.pyz").is_file()


@pytest.mark.thorough
def test_build_verify_and_verify_tell_what_was_altered(cli: Cli, project: Path) -> None:
    assert cli("build", "-q", cwd=project).returncode == 0
    assert cli("build", "--verify", cwd=project).returncode == 0
    (project / "tests.xml").write_text('<testsuite tests="2" failures="1"/>')
    given = ("--json", "--evidence", "dist", "--tests", "tests.xml")
    done = cli("verify", "dist/shop.pyz", *given, cwd=project)
    assert done.returncode == 0, done.stderr
    assert "warning: failed proof: the tests passed (2 tests, 1 failures" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["members"] > 100 and answer["signature"] is False
    assert (project / "dist" / "evidence.html").is_file()
    with open(project / "dist" / "shop.pyz", "r+b") as file:
        file.seek(5000)
        file.write(b"!")
    done = cli("verify", str(project / "dist" / "shop.pyz"))  # it needs no project
    assert done.returncode == 1 and done.stderr.startswith("error[F")
    done = cli("build", "--verify", cwd=project)
    assert done.returncode == 1 and done.stderr.startswith("error[F")


def test_a_role_that_auth_roles_does_not_name_stops_generate_doctor_and_build(
    cli: Cli, project: Path
) -> None:
    schema = next(project.glob("resources/*/schema.py"))
    text = schema.read_text()
    part = '    schema.permission("read", ["nurze"]),\n)'
    schema.write_text(part.join(text.rsplit("\n)", 1)).replace(part, "\n" + part, 1))
    with open(project / "forge.toml", "a") as file:
        file.write('\n[auth]\nroles = ["nurse"]\n')
    said = cli("generate", cwd=project).stderr
    assert "error[F134]" in said and 'did you mean "nurse"?' in said and "^^^^^^^" in said
    assert "F134" in cli("build", "--offline", cwd=project).stderr
    found = json.loads(cli("doctor", "--json", cwd=project).stdout)["findings"]
    (about,) = [one for one in found if one["code"] == "D211"]
    assert about["state"] == "failed" and "nurze" in about["message"]
    (project / "forge.toml").write_text(
        (project / "forge.toml").read_text().replace("nurse", "nurze")
    )
    assert cli("generate", cwd=project).returncode == 0


def test_deploy_writes_once_and_checks(cli: Cli, project: Path) -> None:
    assert cli("deploy", "--check", cwd=project).returncode == 1
    assert cli("deploy", cwd=project).returncode == 0
    said = json.loads(cli("deploy", "--check", "--json", cwd=project).stdout)
    assert said["written"] == [] and said["forge_min"]["source"] in ("wheel", "index")
    (project / "Dockerfile").write_text("FROM scratch\n")
    done = cli("deploy", cwd=project)
    assert done.returncode == 1 and "--force" in done.stderr
    assert (project / "Dockerfile").read_text() == "FROM scratch\n"
    assert cli("deploy", "--force", cwd=project).returncode == 0


# -- configuration ---------------------------------------------------------------------------------


def test_bad_values_are_reported_together(cli: Cli, project: Path) -> None:
    with (project / "forge.toml").open("a") as file:
        file.write('\n[sse]\nheartbeat = "soon"\n')
    done = cli("config", cwd=project, FORGE_SERVER_PORT="x", FORGE_JOBS_ENABLED="maybe")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("error[F200]: ") == 3 == done.stderr.count("hint: ")
    for place in ("forge.toml:", "FORGE_SERVER_PORT", "FORGE_JOBS_ENABLED"):
        assert place in done.stderr


@pytest.mark.parametrize("command", ["config", "serve", "routes"])
def test_a_broken_forge_toml_is_one_error_with_its_line(
    cli: Cli, project: Path, command: str
) -> None:
    (project / "forge.toml").write_text("[project]\nname = \n")
    done = cli(command, cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("error[F202]: ") and "forge.toml:2" in done.stderr
    assert done.stderr.count("error[") == 1 and "Traceback" not in done.stderr


def test_values_are_shown_with_their_sources_and_without_secrets(cli: Cli, project: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://me:hunter2@h/d", "FORGE_ADMIN_TOKEN": "hunter2"}
    done = cli("config", "--sources", "--json", cwd=project, **environ)
    rows = json.loads(done.stdout)
    assert rows["database.url"] == {"value": "postgresql://me:***@h/d", "source": "DATABASE_URL"}
    assert rows["admin.token"]["value"] == "***"
    assert rows["project.name"]["source"].startswith("forge.toml:")
    plain = cli("config", cwd=project, **environ)
    assert "hunter2" not in done.stdout + plain.stdout + plain.stderr


def test_the_version_is_told_anywhere(cli: Cli, tmp_path: Path) -> None:
    facts = json.loads(cli("version", "--json").stdout)
    assert facts["forge_min"] and facts["core"] in ("c", "python")
    assert facts["forge_min"] in cli("--version").stdout


# -- progress and colour ---------------------------------------------------------------------------


def on_a_terminal(arguments: list[str], cwd: Path) -> tuple[int, str]:
    """Run with stderr on a pseudo terminal; what it showed there."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "forge_min", *arguments],
        cwd=cwd,
        env=environment(NO_COLOR=""),
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return child.wait(60), shown.decode()


@pytest.mark.thorough
def test_progress_is_for_terminals_that_want_it(project: Path) -> None:
    code, shown = on_a_terminal(["build"], project)
    assert code == 0 and re.search(r"package +\d+\.\d\d s", shown)
    code, shown = on_a_terminal(["build", "-q"], project)
    assert (code, shown) == (0, "")


def test_diagnostics_are_coloured_on_terminals_that_want_it(project: Path) -> None:
    (project / "resources/item/schema.py").write_text(WRONG)
    code, shown = on_a_terminal(["generate"], project)
    assert code == 1 and "\x1b[31" in shown
    code, shown = on_a_terminal(["generate", "--no-color"], project)
    assert code == 1 and "\x1b" not in shown and "error[F1" in shown


def test_config_needs_no_code_and_says_what_is_unknown(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "forge.toml").write_text("[server]\nport = 8123\n")
    (tmp_path / "other.toml").write_text("[server]\nport = 9123\n")
    done = cli("config", "--sources", "--json", cwd=tmp_path, FORGE_SERVR_PORT="1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["server.port"] == {"value": 8123, "source": "forge.toml:2"}
    assert "FORGE_SERVR_PORT" in done.stderr and "FORGE_SERVER_PORT" in done.stderr
    other = str(tmp_path / "other.toml")
    done = cli("config", "--sources", "--json", cwd=tmp_path, FORGE_CONFIG=other)
    assert json.loads(done.stdout)["server.port"]["source"].endswith("other.toml:2")


# -- a new project ---------------------------------------------------------------------------------


@pytest.mark.db
@pytest.mark.slow
@pytest.mark.thorough
def test_a_new_project_passes_what_its_own_ci_asks(project: Path) -> None:
    for name in (".gitignore", "README.md", "tests/conftest.py"):
        assert (project / name).is_file(), name
    assert "run: sh ci.sh" in (project / ".github/workflows/ci.yml").read_text()
    environ = environment(PYTHON=sys.executable, PYTEST_ADDOPTS="-p no:cacheprovider")
    environ["PYTEST_DEBUG_TEMPROOT"] = str(project.parent)  # pytest removes the oldest folders
    ci = subprocess.run(["sh", "ci.sh"], cwd=project, env=environ, capture_output=True, text=True)
    assert ci.returncode == 0, ci.stdout + ci.stderr
    assert "2 passed" in ci.stdout and (project / "dist" / "shop.pyz").is_file()
    schema = project / "resources/item/schema.py"
    schema.write_text(schema.read_text().replace("max_len=120", "max_len=99"))
    ci = subprocess.run(["sh", "ci.sh"], cwd=project, env=environ, capture_output=True)
    assert ci.returncode == 1, "a schema without its gen/ must not pass"


@pytest.mark.db
@pytest.mark.slow
@pytest.mark.thorough
def test_the_tests_of_a_new_project_with_sign_in_pass(cli: Cli, tmp_path: Path) -> None:
    wrong = cli("init", "shop", "--auth", "--admin", "nobody")
    assert wrong.returncode == 1 and "F631" in wrong.stderr
    assert not (tmp_path / "shop").exists()
    assert cli("init", "shop", "--auth").returncode == 0
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        words, cwd=tmp_path / "shop", env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("options", [[], ["--auth"]], ids=["open", "auth"])
@pytest.mark.thorough
def test_what_init_writes_has_no_fault_that_linters_know(
    cli: Cli, tmp_path: Path, options: list[str]
) -> None:
    assert cli("init", "shop", *options).returncode == 0
    chosen = ["--isolated", "--select=E,F,B,UP,SIM,RET", "--line-length=100", "--exclude=gen"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", *chosen, str(tmp_path / "shop")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
