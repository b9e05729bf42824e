"""`dev` with real processes, sockets and databases: what is saved is served, what is wrong is
shown, and nothing is left behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from forge_min import db
from forge_min.dev import Development
from forge_min.errors import UsageError
from forge_min.testing import TestDatabase

from artifact_runner import Site
from dev_runner import Dev, clean_environment, command
from person import Person

pytestmark = [pytest.mark.db, pytest.mark.slow]
MakeDev = Callable[..., Dev]
HOME, ITEMS = "views/home.html", "resources/item/schema.py"


def page_number(dev: Dev) -> str:
    return dev.get("/").body.decode().partition('data-page="')[2].partition('"')[0]


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def test_a_saved_page_is_served_at_once_without_one_refused_request(dev: Dev) -> None:
    code = "import forge_min.app, forge_min.parse"
    loading = [sys.executable, "-c", code]
    rounds = []
    for number in range(5):
        began = time.monotonic()
        dev.save(HOME, replaced("<h1>shop", "<h1>shop!"))
        while "<h1>shop" + "!" * (number + 1) not in (page := dev.get()).body.decode():
            assert page.status == 200, page.body
            assert time.monotonic() < began + 30
        saved = time.monotonic()
        subprocess.run(loading, check=True, env=clean_environment())
        rounds.append((saved - began, time.monotonic() - saved))
    # 0.3 s on a machine that is not busy with other tests: a process that loads the framework. Each
    # is measured beside a save, because other tests make both slower.
    assert any(save < load for save, load in rounds), rounds
    assert "reloaded in" in dev.log and HOME in dev.log


@pytest.mark.thorough
def test_code_of_the_same_size_saved_within_a_second_is_what_is_served(dev: Dev) -> None:
    added = '\n@app.page("/n")\ndef n(request: Request) -> str:\n    return "number 0"\n'
    dev.save("app.py", lambda text: text + added)
    dev.shows("number 0", "/n")
    for number in range(1, 5):
        dev.save("app.py", replaced(f"number {number - 1}", f"number {number}"))
        dev.shows(f"number {number}", "/n")
    dev.save("lib.py", "VALUE = 'of lib'\n")
    dev.save("app.py", replaced('"number 4"', "__import__('lib').VALUE"))
    dev.shows("of lib", "/n")
    dev.save("lib.py", "VALUE = 'of bil'\n")
    dev.shows("of bil", "/n")


MISTAKES = [
    (ITEMS, "schema.bool(", "schema.bol(", "did you mean &#34;bool&#34;?"),
    (ITEMS, "schema.bool(", "schema.bool((", "error[F1"),
    (HOME, "<main>", "<main>${", "error[F3"),
    ("app.py", "app = App()", "app = = App()", "SyntaxError: invalid syntax"),
    ("app.py", "app = App()", "app = App(", "SyntaxError: "),
    ("app.py", "app = App()", "app = App(); import nothing_like_it", "ModuleNotFoundError"),
    ("app.py", "app = App()", "app = App(); raise SystemExit(3)", "SystemExit: 3"),
    ("app.py", "app = App()", "apps = App()", "NameError"),
    ("resources/item/jobs.py", "import logging", "import loggin", "ModuleNotFoundError"),
    ("forge.toml", "[project]", "[project", "error[F202]"),
]


@pytest.mark.thorough
def test_a_mistake_is_shown_and_the_site_stays_until_it_is_corrected(dev: Dev) -> None:
    for number, (name, good, bad, told) in enumerate(MISTAKES):
        dev.save(name, replaced(good, bad))
        shown = dev.shows(told)
        assert shown.status == 200 and "<h1>shop" in shown.body.decode(), (name, bad)
        assert dev.get("/api/v1/items").status == 200
        dev.save(name, replaced(bad, good))
        dev.until(lambda told=told: told not in dev.get().body.decode(), f"{bad} corrected")
        dev.save(HOME, lambda text, n=number: re.sub("<h1>.*?</h1>", f"<h1>shop {n}</h1>", text))
        dev.shows(f"<h1>shop {number}</h1>")


PIPES = [("views/pipe.html", "error[F319]"), ("migrations/0042_pipe.sql", "error[F321]")]


def test_a_pipe_in_the_project_is_told_of_and_not_waited_for(dev: Dev) -> None:
    for number, (name, told) in enumerate(PIPES):
        os.mkfifo(dev.root / name)
        dev.shows(told)
        (dev.root / name).unlink()
        dev.until(lambda told=told: told not in dev.get().body.decode(), f"{name} gone")
        dev.save(HOME, lambda text, n=number: re.sub("<h1>.*?</h1>", f"<h1>shop {n}</h1>", text))
        dev.shows(f"<h1>shop {number}</h1>")


def test_it_begins_with_a_mistake_and_says_so_to_everybody(stopped: Dev) -> None:
    dev = stopped
    dev.save("app.py", lambda text: text + "x x\n")
    dev.start()
    page = dev.shows("SyntaxError: invalid syntax")
    assert page.status == 503
    assert "x x" in page.text
    said = dev.says(r"^SyntaxError: invalid syntax")
    assert said
    dev.save("app.py", lambda text: text.removesuffix("x x\n"))
    assert dev.shows("<h1>shop</h1>").status == 200
    assert dev.interrupt() == 0


def test_another_address_is_told_of_for_as_long_as_it_is_another(dev: Dev) -> None:
    told, before = "names another address", (dev.root / "forge.toml").read_text()
    dev.save("forge.toml", before + "\n[server]\nunix_socket = 'x.sock'\n")
    dev.shows(told)
    dev.says("reloaded in")
    dev.save("forge.toml", before + "\n[server]\nunix_socket = 'x.sock'\n\n[jobs]\nprefetch = 2\n")
    dev.until(lambda: dev.log.count("reloaded in") == 2, "both reloads")
    assert told in dev.get().body.decode()
    dev.save("forge.toml", before)
    dev.until(lambda: told not in dev.get().body.decode(), "the address that it has")


@pytest.mark.thorough
def test_it_begins_without_gen_and_with_a_wrong_schema(stopped: Dev) -> None:
    dev = stopped
    shutil.rmtree(dev.root / "gen")
    dev.save(ITEMS, replaced("schema.bool(", "schema.bol("))
    dev.start()
    assert dev.shows("did you mean").status == 503
    dev.save(ITEMS, replaced("schema.bol(", "schema.bool("))
    assert dev.shows("<h1>shop</h1>").status == 200
    assert dev.interrupt() == 0


SAVES_MEANWHILE = """
import os, sys
from pathlib import Path
from forge_min.dev import Development

def say(line):
    print(line, flush=True)
    if line.startswith("wrote resources/item/jobs.py"):  # by now the schemas have been read
        schema = root / "resources/item/schema.py"
        beside = root / "new.txt"
        beside.write_text(schema.read_text().replace("schema.timestamps", sys.argv[2]))
        beside.replace(schema)

root = Path(sys.argv[1])
sys.path.insert(0, str(root))
Development(root, os.environ, say, color=False).run()
"""


def test_what_is_saved_while_gen_is_written_is_taken_too(stopped: Dev) -> None:
    (stopped.root / "resources/item/jobs.py").unlink()
    more = 'schema.int("price"), schema.timestamps'
    stopped.start([sys.executable, "-c", SAVES_MEANWHILE, str(stopped.root), more])
    stopped.until(lambda: "price" in (stopped.root / "gen/item/model.py").read_text())


def test_a_request_that_fails_shows_its_traceback_in_its_own_page_only(dev: Dev) -> None:
    dev.save("app.py", replaced("    rows = items", "    rows = missing + items"))
    shown = dev.shows("NameError: name &#39;missing&#39; is not defined")
    assert shown.status == 500 and "rows = missing + items" in shown.text
    assert "NameError" not in dev.get("/items").text


def test_the_series_of_requests_are_there_in_development(dev: Dev) -> None:
    series = Person(dev.admin).get("/metrics").body.decode()
    assert "\nforge_http_requests_in_flight 0" in series
    assert 'forge_http_request_duration_seconds_count{method="GET",route="/"' in series
    assert "callback" not in dev.log


def test_stylesheets_and_files_of_static_need_no_new_process(dev: Dev) -> None:
    before = page_number(dev)
    dev.save("static/css/app.css", "body { color: red }")
    dev.until(lambda: 'data-styles="1"' not in dev.get().body.decode())
    assert page_number(dev) == before
    dev.save("static/logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    dev.until(lambda: page_number(dev) != before)
    dev.says("serving on")  # which comes after the first page, with the admin server
    assert "reloaded" not in dev.log and dev.log.count("serving on") == 1
    dev.save("README.md", "nothing of it is served")
    dev.save("tests/test_x.py", "x = 1")
    dev.save(HOME, replaced("<h1>shop", "<h1>after"))
    dev.shows("<h1>after")
    dev.says("reloaded")
    assert dev.log.count("reloaded") == 1


@pytest.mark.thorough
def test_a_schema_asks_for_a_migration_which_is_applied_once_it_is_written(dev: Dev) -> None:
    field = 'schema.int("price", min=0), schema.timestamps'
    dev.save(ITEMS, replaced("schema.timestamps", field))
    dev.shows("run: forge-min migrate diff")
    dev.says("add column price to items")
    assert len(list((dev.root / "migrations").glob("*.sql"))) == 1
    done = command("migrate", "diff", cwd=dev.root, **dev.environ)
    assert done.returncode == 0, done.stderr
    dev.says(r"^applied 0002_")
    dev.until(lambda: "migrate diff" not in dev.get().body.decode())
    body = json.dumps({"title": "Hello", "price": 3}).encode()
    person = Person(dev.port)
    dev.until(lambda: "price" in dev.get("/api/openapi.json").body.decode())
    assert person.ask("POST", "/api/v1/items", body, Content_Type="application/json").status == 201
    dev.shows("Hello")


@pytest.mark.thorough
def test_what_loses_data_waits_until_somebody_applies_it(
    dev: Dev, fresh_database: TestDatabase
) -> None:
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute("insert into items (title, done) values ('dear', true)")
        dev.save("migrations/0002_less.sql", "alter table items drop column done;")
        dev.shows("0002_less.sql would lose data, so it waits")
        assert conn.execute("select done from items").fetchall() == [(True,)]
        done = command("migrate", "up", cwd=dev.root, **dev.environ)
        assert done.returncode == 0, done.stderr
        dev.until(lambda: "waits" not in dev.get().body.decode())


@pytest.mark.thorough
def test_a_changed_migration_is_an_error_until_the_database_is_reset(dev: Dev) -> None:
    (first,) = (dev.root / "migrations").glob("*.sql")
    dev.save(f"migrations/{first.name}", lambda text: text + "-- changed\n")
    dev.shows("error[F320]")
    with db.connect(dev.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        name = conn.info.dbname
    done = command("db", "reset", "--database", name, cwd=dev.root, **dev.environ)
    assert done.returncode == 0, done.stderr
    dev.until(lambda: "F320" not in dev.get().body.decode())


@pytest.mark.thorough
def test_a_job_that_runs_is_not_lost_by_a_reload(dev: Dev, fresh_database: TestDatabase) -> None:
    dev.save("resources/item/jobs.py", _slow)
    dev.says("reloaded")
    dev.until(lambda: len(dev.pids()) == 2)  # the parent, and who serves with the new worker
    body = json.dumps({"title": "Hello"}).encode()
    Person(dev.port).ask("POST", "/api/v1/items", body, Content_Type="application/json")
    with db.connect(fresh_database.owner_url) as conn:
        states = "select state, attempt from forge_job"
        dev.until(lambda: conn.execute(states).fetchall() == [("running", 1)])
        dev.save(HOME, replaced("<h1>shop", "<h1>after"))
        dev.shows("<h1>after")
        (dev.root / "go").touch()
        dev.until(lambda: conn.execute(states).fetchall() == [("completed", 1)])


def _slow(text: str) -> str:
    """A worker that works until a file is there."""
    lines = text.split("\n")
    at = next(n for n, line in enumerate(lines) if "def work(" in line)
    there = "pathlib.Path(__file__).parents[2].joinpath('go').exists()"
    wait = ["import pathlib, time", f"while not {there}:"]
    wait.append("    time.sleep(0.02)")
    return "\n".join([*lines[: at + 1], *(" " * 8 + line for line in wait), *lines[at + 1 :]])


# -- its end ---------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_neither_ctrl_c_nor_a_kill_leaves_a_process_behind(new_dev: MakeDev) -> None:
    dev = new_dev()
    dev.start()
    dev.shows("<h1>shop</h1>")
    dev.save(HOME, replaced("<h1>shop", "<h1>after"))
    dev.shows("<h1>after")
    assert len(dev.pids()) >= 3  # the parent, the one that serves, the database
    assert dev.interrupt() == 0
    assert dev.pids() == []
    assert not (dev.root / ".forge" / "database.json").exists()
    assert "Traceback" not in dev.log and "error" not in dev.log
    process = dev.start()  # the data is good
    assert dev.shows("<h1>after</h1>").status == 200
    process.popen.kill()
    process.popen.wait(30)
    end = time.monotonic() + 30
    while dev.pids():
        assert time.monotonic() < end, dev.pids()
        time.sleep(0.05)


def test_ctrl_c_of_a_terminal_which_all_processes_get_is_as_clean(dev: Dev) -> None:
    assert dev.process is not None
    dev.save(HOME, replaced("<h1>shop", "<h1>after"))
    for pid in dev.pids():
        with suppress(ProcessLookupError):  # one that did one thing may have done it
            os.kill(pid, signal.SIGINT)
    assert dev.process.popen.wait(30) == 0, dev.log
    assert dev.pids() == [] and "Traceback" not in dev.log


@pytest.mark.thorough
def test_a_process_that_dies_is_replaced(dev: Dev) -> None:
    added = (
        '\n@app.page("/die")\ndef die(request: Request) -> str:\n    __import__("os")._exit(9)\n'
    )
    dev.save("app.py", lambda text: text + added)
    dev.until(lambda: "reloaded" in dev.log)
    dev.until(lambda: dev.get("/die").status == 0)
    dev.says("the process has ended with 9; a new one starts")
    assert dev.shows("<h1>shop</h1>").status == 200


# -- where it must not be --------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["production", "test"])
def test_it_runs_in_development_only(new_project: Path, env: str) -> None:
    environ = {"FORGE_ENV": env, "FORGE_AUTH_SECRET": "s" * 64, "FORGE_DATABASE_URL": "dbname=x"}
    with pytest.raises(UsageError) as refused:
        Development(new_project, environ, print, color=False)
    assert refused.value.code == "F533"


@pytest.mark.thorough
def test_an_address_in_use_is_one_error(dev: Dev) -> None:
    done = command("dev", cwd=dev.root, **dev.environ, FORGE_SERVER_PORT=str(dev.port))
    assert done.returncode == 1 and done.stderr.startswith("error[F500]: "), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_nothing_of_it_is_served_by_an_artifact(site: Site) -> None:
    site.serve("--no-jobs")
    assert site.status(site.port, "/forge-dev/reload.js") == 404
    assert site.status(site.port, "/forge-dev/events") == 404
    _, _, body = site.ask("GET", "/", Accept="text/html")
    assert b"forge-dev" not in body
    with zipfile.ZipFile(site.artifact) as artifact:
        names = artifact.namelist()
    assert not [name for name in names if name.startswith("forge_min/dev") or "reload.js" in name]
    assert any(name.startswith("forge_min/wsgi/") for name in names)
