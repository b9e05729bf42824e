"""EmbeddedServer: it starts whoever we are, keeps its data, and ends with its starter."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from forge_min.db import EmbeddedServer, connect
from forge_min.db.embedded import binaries, process_guard
from forge_min.db.embedded import server as server_module
from forge_min.errors import Unavailable

pytestmark = [pytest.mark.db, pytest.mark.alone]
QUICK = {"fsync": "off"}
ROOT = os.geteuid() == 0


@pytest.fixture
def folder():
    """Not below pytest's own folder: only what we make ourselves may decide whether it works."""
    with tempfile.TemporaryDirectory(prefix="forge-embedded-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def shared():
    """A server of this module: initdb and the first start take a second, so tests share the
    data.
    """
    with tempfile.TemporaryDirectory(prefix="forge-embedded-") as name:
        with EmbeddedServer(Path(name, "data"), settings=QUICK) as server:
            yield server


@pytest.fixture
def own(shared):
    """That server, running and without notes. A test may stop, kill and damage it if it
    recovers.
    """
    shared.start()
    with connect(shared.owner_url) as conn:
        conn.execute("drop table if exists note, t")
    return shared


def note(url: str, text: str) -> None:
    with connect(url) as conn:
        conn.execute("create table if not exists note (text text)")
        conn.execute("insert into note values (%s)", [text])


def notes(url: str) -> list[str]:
    with connect(url) as conn:
        return [row[0] for row in conn.execute("select text from note")]


def test_the_owner_may_create_roles_and_databases_and_is_no_superuser(own):
    query = "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user"
    with connect(own.owner_url) as owner:
        assert owner.execute(query).fetchone() == (False, True, True)
        owner.execute("create table t (id int)")
    with connect(own.app_url) as app:
        assert app.execute(query).fetchone() == (False, False, False)
        app.execute("insert into t values (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("create table mine (id int)")


def test_a_password_is_needed_and_secrets_are_not_readable_by_others(own):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1", port=own.port, user="postgres", dbname="app", password="x"
        )
    modes = {
        name: stat.S_IMODE((own.data / name).stat().st_mode)
        for name in ("credentials.json", "pg", "server.log", "lock")
    }
    assert modes == {"credentials.json": 0o600, "pg": 0o700, "server.log": 0o600, "lock": 0o600}


def test_start_and_stop_are_idempotent_and_the_data_survives(own):
    own.start()
    note(own.owner_url, "kept")
    own.stop()
    own.stop()
    assert not own.running
    own.start()
    assert notes(own.owner_url) == ["kept"]


def test_another_object_finds_data_and_passwords(own):
    note(own.owner_url, "kept")
    own.stop()
    with EmbeddedServer(own.data, settings=QUICK) as again:
        assert notes(again.app_url) == ["kept"]


def test_it_is_ready_within_a_second_once_initialised(own):
    times = []
    for _ in range(5):
        own.stop()
        started = time.monotonic()
        own.start()
        times.append(time.monotonic() - started)
        if times[-1] <= 1.0:
            return
    raise AssertionError(times)


def test_stop_does_not_wait_for_clients(own):
    with connect(own.app_url) as client, client.transaction():
        client.execute("select 1")
        started = time.monotonic()
        own.stop()
        assert time.monotonic() - started < 10
        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")
        client.close()


def test_a_thread_that_ends_does_not_take_the_server_along(own):
    own.stop()
    thread = threading.Thread(target=own.start)
    thread.start()
    thread.join()
    note(own.owner_url, "still here")


def test_names_that_need_quoting_and_the_callers_environment_do_no_harm(folder, monkeypatch):
    for name in ("PGDATA", "PGPORT", "LC_ALL"):
        monkeypatch.setenv(name, "nonsense")
    data = folder / 'it\'s a "folder" ü' / "data"
    with EmbeddedServer(data, database='my "db"', app_role="site_app", settings=QUICK) as server:
        with connect(server.app_url) as app:
            row = app.execute("select current_database(), current_user, upper('é'), 'x'").fetchone()
    assert row == ('my "db"', "site_app", "É", "x")


def test_a_setting_that_postgres_refuses_is_an_error_with_its_words(own):
    own.stop()
    server = EmbeddedServer(own.data, settings={"no_such_setting": "1"})
    with pytest.raises(Unavailable) as caught:
        server.start()
    assert caught.value.code == "F422" and "no_such_setting" in caught.value.message
    assert not server.running


def test_a_port_in_use_is_an_error_that_names_it(own):
    own.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = EmbeddedServer(own.data, port=port, settings=QUICK)
        with pytest.raises(Unavailable) as caught:
            server.start()
        assert caught.value.code == "F423" and str(port) in caught.value.message
    server.start()
    assert server.port == port
    server.stop()


def test_two_servers_on_one_folder_are_refused(own, monkeypatch):
    monkeypatch.setattr(server_module, "LOCK_TIMEOUT", 0.1)
    with pytest.raises(Unavailable) as caught:
        EmbeddedServer(own.data).start()
    assert caught.value.code == "F423"
    note(own.owner_url, "unhurt")


def test_lost_passwords_are_an_error_and_not_a_new_database(own):
    own.stop()
    kept = (own.data / "credentials.json").rename(own.data / "elsewhere.json")
    with pytest.raises(Unavailable) as caught:
        own.start()
    kept.rename(own.data / "credentials.json")
    assert caught.value.code == "F424"


def test_a_crash_inside_initdb_is_begun_anew(folder):
    data = folder / "data"
    (data / "pg.new").mkdir(parents=True)
    (data / "pg.new" / "half").write_text("a file")
    with EmbeddedServer(data, settings=QUICK) as server:
        note(server.owner_url, "works")


def test_a_crash_before_the_roles_were_made_is_made_good(own):
    with connect(own.admin_url.rpartition("/")[0] + "/postgres") as admin:
        admin.execute("drop database app with (force)")
        admin.execute("drop owned by app, owner")
        admin.execute("drop role app, owner")
    own.stop()
    own.start()
    note(own.owner_url, "works")
    assert notes(own.app_url) == ["works"]


def test_a_folder_that_cannot_be_written_is_an_error_and_no_defect(folder, monkeypatch):
    (folder / "file").touch()
    with pytest.raises(Unavailable, match="cannot hold a database: Not a directory") as caught:
        EmbeddedServer(folder / "file" / "data").start()
    assert caught.value.code == "F422" and "free disk space" in caught.value.hint

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(server_module, "load_credentials", full)
    with pytest.raises(Unavailable, match="No space left on device") as caught:
        EmbeddedServer(folder / "data").start()
    assert caught.value.code == "F422"


def test_no_server_on_the_machine_is_an_error_with_the_next_step(folder, monkeypatch):
    monkeypatch.setattr(binaries, "candidates", lambda: iter([folder]))
    with pytest.raises(Unavailable) as caught:
        EmbeddedServer(folder / "data").start()
    assert caught.value.code == "F420" and caught.value.hint


def test_data_of_a_version_that_is_not_here_is_an_error_that_names_it(own):
    own.stop()
    version = own.data / "pg" / "PG_VERSION"
    kept = version.read_text()
    version.write_text("14\n")
    with pytest.raises(Unavailable, match="PostgreSQL 14") as caught:
        own.start()
    version.write_text(kept)
    assert caught.value.code == "F420"


def test_every_server_of_this_machine_can_be_embedded(folder):
    for number, found in enumerate(binaries.installed()):
        with EmbeddedServer(folder / str(number), settings=QUICK, bin=found.folder) as server:
            with connect(server.app_url) as conn:
                assert conn.info.server_version // 10000 == found.major


# -- ends of every kind ----------------------------------------------------------------------------

STARTER = """
import sys
from pathlib import Path
from forge_min.db import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.owner_url, flush=True)
sys.stdin.readline()
"""


def start_elsewhere(data: Path) -> tuple[subprocess.Popen[str], str]:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=os.getcwd(),
    )
    assert starter.stdout
    return starter, starter.stdout.readline().strip()


def close(process: subprocess.Popen[str]) -> None:
    process.wait(30)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def ended(pid: int) -> None:
    """Wait until that process is gone, or a zombie that nobody has reaped."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
    raise AssertionError(f"process {pid} lives on")


def postmaster(data: Path) -> int:
    return int((data / "pg" / "postmaster.pid").read_text().split("\n")[0])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_it_ends_with_its_starter_and_the_next_start_has_the_data(own, end):
    own.stop()
    starter, url = start_elsewhere(own.data)
    note(url, "kept")
    pid = postmaster(own.data)
    if end is None:
        assert starter.stdin
        starter.stdin.write("\n")
        starter.stdin.flush()
    else:
        starter.send_signal(end)
    close(starter)
    own.start()  # waits for the old one to be gone
    ended(pid)
    assert notes(own.owner_url) == ["kept"]


def test_a_killed_supervisor_takes_postgres_along(own):
    note(own.owner_url, "kept")
    pid = postmaster(own.data)
    own._process.kill()
    ended(pid)
    assert not own.running
    own.stop()
    own.start()
    assert notes(own.owner_url) == ["kept"]


def test_a_killed_postgres_is_noticed_and_recovers(own):
    note(own.owner_url, "kept")
    os.kill(postmaster(own.data), signal.SIGKILL)
    own._process.wait(20)
    assert not own.running
    own.start()
    assert notes(own.owner_url) == ["kept"]


def test_a_pid_file_that_names_a_living_stranger_is_stale(own):
    note(own.owner_url, "kept")
    pid = postmaster(own.data)
    text = (own.data / "pg" / "postmaster.pid").read_text()
    for victim in (own._process.pid, pid):
        os.kill(victim, signal.SIGKILL)
    own._process.wait(20)
    ended(pid)
    (own.data / "pg" / "postmaster.pid").write_text(text.replace(str(pid), str(os.getpid()), 1))
    own.stop()
    own.start()
    assert notes(own.owner_url) == ["kept"]


# -- who we are: each way of running as root is forced ---------------------------------------------

# Runs a program in a user namespace of its own, as root there, with further namespaces forbidden.
OUTER = """
import ctypes, os, sys
count = sys.argv[1]
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
os.read(ready[0], 1)
open(f"/proc/{child}/setgroups", "w").write("allow" if os.geteuid() == 0 else "deny")
for name, mine in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
    open(f"/proc/{child}/{name}", "w").write(f"0 {mine} {count}")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
TWICE = """
import json, sys
from pathlib import Path
from forge_min.db import EmbeddedServer, connect
from forge_min.errors import ForgeError
found = []
try:
    for _ in range(2):
        own = EmbeddedServer(Path(sys.argv[1]), settings={"fsync": "off"})
        own.start()
        with connect(own.owner_url) as conn:
            conn.execute("create table if not exists note (text text)")
            conn.execute("insert into note values ('x')")
            found.append([own.mode, conn.execute("select count(*) from note").fetchone()[0]])
        own.stop()
except ForgeError as err:
    found = [err.code, err.message]
print(json.dumps(found))
"""
ALL = "65536"


def run_twice(data: Path, *wrapper: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, *wrapper, "-W", "error", "-c", TWICE, str(data)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        cwd=os.getcwd(),
    )
    assert done.returncode == 0
    answer: list[object] = json.loads(done.stdout)
    return answer


def outside() -> object:
    """What must not change: users, the folders above PostgreSQL's programs."""
    above = binaries.find().folder.parents
    return (
        Path("/etc/passwd").read_bytes(),
        [(str(path), path.stat().st_mode, path.stat().st_uid) for path in above],
    )


@pytest.fixture(autouse=True)
def nothing_outside_changes():
    before = outside()
    yield
    assert outside() == before


def private(folder: Path) -> Path:
    (folder / "private").mkdir(mode=0o700)
    return folder / "private" / "data"


def test_the_direct_way_works_below_a_private_folder(folder):
    mode = "namespace" if ROOT else "direct"
    assert run_twice(private(folder)) == [[mode, 1], [mode, 2]]


def test_without_any_way_the_error_has_a_code_and_says_what_was_tried(folder):
    code, message = run_twice(folder / "data", "-c", OUTER, "1")
    assert code == "F421"
    for mode in ("namespace", "nobody"):
        assert mode in str(message)


if ROOT:
    # Only root can make the outer namespace that has more than one user.

    def test_without_namespaces_root_becomes_nobody_also_below_a_private_folder(folder):
        data = private(folder)
        assert run_twice(data, "-c", OUTER, ALL) == [["nobody", 1], ["nobody", 2]]
        assert run_twice(data) == [["namespace", 3], ["namespace", 4]]

    def test_without_namespaces_the_programs_may_be_below_a_private_folder(folder):
        program = private(folder).with_name("id")
        shutil.copy("/usr/bin/id", program)
        command = [sys.executable, "-c", OUTER, ALL, process_guard.__file__, "nobody", program]
        pipe = subprocess.PIPE
        with subprocess.Popen([*command, "-u"], stdin=pipe, stdout=pipe) as guard:
            assert guard.stdout is not None and guard.stdout.read() == b"65534\n"

    @pytest.mark.thorough
    def test_the_data_folder_may_change_hands_between_the_ways(folder):
        folder.chmod(0o755)
        data = folder / "data"
        assert run_twice(data)[1] == ["namespace", 2]
        assert run_twice(data, "-c", OUTER, ALL)[1][1] == 4
        assert run_twice(data)[1] == ["namespace", 6]

    def test_somebody_who_is_not_root_runs_it_directly(folder):
        # User 65534 of a namespace, who is this root outside: no rights of root are left.
        code = "import ctypes, os, sys\n" + "\n".join(
            [
                "assert ctypes.CDLL(None).unshare(0x10000000) == 0",
                "open('/proc/self/setgroups', 'w').write('deny')",
                "open('/proc/self/uid_map', 'w').write('65534 0 1')",
                "open('/proc/self/gid_map', 'w').write('65534 0 1')",
                "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
            ]
        )
        answer = run_twice(private(folder), "-c", code)
        assert answer == [["direct", 1], ["direct", 2]]


@pytest.mark.parametrize(("settings", "iterations"), [({}, 4096), ({"fsync": "off"}, 1)])
def test_only_passwords_of_a_server_for_tests_have_a_quick_hash(tmp_path, settings, iterations):
    with EmbeddedServer(tmp_path / "pg", settings=settings) as server:
        with connect(server.admin_url) as conn:
            if conn.info.server_version < 160000:
                iterations = 4096
            rows = conn.execute("select rolpassword from pg_authid where rolcanlogin").fetchall()
    assert {int(hashed.split("$")[1].split(":")[0]) for (hashed,) in rows} == {iterations}
