"""The built artifact in several processes: one port, one set of figures, none missed for long."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from artifact_runner import PYTHON

pytestmark = pytest.mark.db
PROBES = ("/readyz", "/metrics") * 4
COUNTED = re.compile(
    r'forge_http_request_duration_seconds_count\{method="GET",route="/api/v1/countries",'
    r'status="200"\} (\d+)'
)


def children(process: Any) -> set[int]:
    """The processes that this one has started: those that serve, and the admin process."""
    pid = process.popen.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def listening(pid: int, port: int) -> set[str]:
    """The listening sockets of a process at a port (proc(5), net/tcp)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    links: set[str] = set()
    with contextlib.suppress(OSError):  # it may end meanwhile
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return links & {f"socket:[{inode}]" for inode in inodes}


def totals(site: Any) -> dict[str, float]:
    """The counters that the admin server tells of, and the counts of histograms."""
    text = site.ask("GET", "/metrics", port=site.admin)[2].decode()
    found = re.findall(r"(?m)^(\w+(?:_total|_count|_bucket)(?:\{.*\})?) (\S+)$", text)
    assert found
    return {name: float(value) for name, value in found}


def counted(site: Any) -> int:
    """The requests for countries that the admin server tells of."""
    found = COUNTED.search(site.ask("GET", "/metrics", port=site.admin)[2].decode())
    return int(found[1]) if found else 0


@pytest.mark.thorough
def test_several_processes_share_a_port_and_their_figures_are_summed(site: Any) -> None:
    process = site.serve("--processes", "3")
    serving = [pid for pid in children(process) if listening(pid, site.port)]
    assert len(serving) == 3 and len(children(process)) == 4
    sockets = [listening(pid, site.port) for pid in serving]
    assert len(set.union(*sockets)) == 3, "one each (SO_REUSEPORT): the kernel spreads who comes"
    for _ in range(60):
        assert site.ask("GET", "/api/v1/countries")[0] == 200
    assert counted(site) == 60
    text = site.ask("GET", "/metrics", port=site.admin)[2].decode()
    assert re.search(r"(?m)^forge_build_info\{.*\} 1$", text), "each process says it of the whole"

    os.kill(serving[0], signal.SIGKILL)
    process.wait_for(
        lambda: sum(bool(listening(pid, site.port)) for pid in children(process)) == 3,
        "another one",
    )
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
    assert counted(site) == 60, "what a process has counted outlives it"
    for _ in range(30):
        assert site.ask("GET", "/api/v1/countries")[0] == 200
    assert counted(site) == 90
    assert process.stop() == 0, process.log
    assert f"(pid {serving[0]}) ended with exit code -9; it is started again" in process.log


@pytest.mark.thorough
def test_a_signal_to_all_of_them_at_once_drains_as_one_to_the_parent_does(site: Any) -> None:
    """As systemd sends it by default (systemd.kill(5), KillMode=control-group)."""
    process = site.serve("--processes", "2")
    body = b'{"code": "DE", "name": "Germany"}'
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as slow:
        slow.sendall(b"POST /api/v1/countries HTTP/1.1\r\nHost: a\r\n")
        slow.sendall(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.3)  # so that it is accepted, and its body waited for
        for pid in [*children(process), process.popen.pid]:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.5)
        slow.sendall(body)
        assert slow.recv(100).startswith(b"HTTP/1.1 201 ")
    assert process.popen.wait(30) == 0, process.log


@pytest.mark.thorough
def test_cursors_of_one_process_are_good_in_all(site: Any) -> None:
    process = site.serve("--processes", "3")
    for n in range(6):
        site.create("countries", {"code": f"A{n}", "name": f"Land {n}"})
    for _ in range(5):
        page = json.loads(site.ask("GET", "/api/v1/countries?limit=2")[2])
        while cursor := page["pagination"]["next"]:
            status, _, body = site.ask("GET", f"/api/v1/countries?limit=2&cursor={cursor}")
            assert status == 200, body
            page = json.loads(body)
    assert process.stop() == 0


@pytest.mark.thorough
def test_the_admin_process_is_started_again_too(site: Any) -> None:
    process = site.serve("--processes", "2")
    (admin,) = (pid for pid in children(process) if listening(pid, site.admin))
    served = [pid for pid in children(process) if listening(pid, site.port)]
    for _ in range(10):
        site.ask("GET", "/api/v1/countries")
    assert counted(site) == 10
    sums = [totals(site)]
    os.kill(served[0], signal.SIGKILL)
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 503, "one is missing")
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
    sums.append(totals(site))
    for _ in range(2):
        (admin,) = (pid for pid in children(process) if listening(pid, site.admin))
        os.kill(admin, signal.SIGKILL)
        process.wait_for(lambda: site.status(site.admin, "/healthz") == 200, "admin again")
        process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
        sums.append(totals(site))
    assert counted(site) == 10, "of the one that is no more too"
    for before, after in itertools.pairwise(sums):
        fell = {name for name, value in before.items() if after.get(name, 0) < value}
        assert not fell, "to Prometheus a sum that falls has begun anew"
    assert process.stop() == 0


@pytest.mark.thorough
def test_sigterm_under_load_answers_what_was_accepted(site: Any) -> None:
    process = site.serve("--processes", "2")
    results: list[int] = []

    def keep_asking() -> None:
        while True:
            try:
                results.append(site.ask("GET", "/api/v1/countries")[0])
            except ConnectionRefusedError:
                return

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    process.wait_for(lambda: len(results) > 100, "some answers")
    assert process.stop() == 0, process.log
    for thread in threads:
        thread.join(30)
    assert set(results) == {200} and "Traceback" not in process.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.thorough
def test_ctrl_c_ends_all_and_so_does_the_death_of_the_parent(site: Any, number: int) -> None:
    process = site.serve("--processes", "2")
    started = children(process)
    process.popen.send_signal(number)
    assert process.popen.wait(30) == (0 if number == signal.SIGINT else -number)
    end = time.monotonic() + 30
    while any(map(_lives, started)):
        assert time.monotonic() < end, "a child goes on"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("variable", ["FORGE_SERVER_PORT", "FORGE_ADMIN_PORT"])
@pytest.mark.thorough
def test_a_port_in_use_is_told_once_and_ends_all(site: Any, variable: str) -> None:
    assert site.run("migrate", "up").returncode == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = site.run("serve", "--processes", "2", **{variable: port})
    assert done.returncode == 1
    assert done.stderr.count("error[F500]") == 1 and "Traceback" not in done.stderr


@pytest.mark.thorough
def test_a_unix_socket_is_shared_and_removed(site: Any, tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    process = site.serve("--processes", "2", FORGE_SERVER_UNIX_SOCKET=str(path))
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET /api/v1/countries HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    assert counted(site) == 10
    assert process.stop() == 0 and not path.exists()


# What systemd does for a unit with a socket: the socket is descriptor 3, and LISTEN_PID names who
# is meant.
PASSES_ON = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=5)
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[2]}
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.thorough
def test_a_socket_that_systemd_passes_on_is_served(site: Any, processes: str) -> None:
    assert site.run("migrate", "up").returncode == 0
    port = str(site.port)
    site.environ["FORGE_SERVER_PORT"] = "1"  # nothing of ours may be bound
    process = site.start_as(
        [sys.executable, "-c", PASSES_ON, port, "1"], "serve", "--processes", processes
    )
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready")
    for _ in range(10):
        assert site.ask("GET", "/api/v1/countries")[0] == 200
    assert process.stop() == 0, process.log


def test_anything_but_one_listening_socket_is_refused(site: Any) -> None:
    process = site.start_as([sys.executable, "-c", PASSES_ON, str(site.port), "2"], "serve")
    assert process.popen.wait(30) == 1 and "error[F508]" in process.log


@pytest.mark.thorough
def test_each_process_can_be_profiled_and_what_it_answers_meanwhile_is_told(site: Any) -> None:
    process = site.serve("--processes", "2")
    pprof = "/debug/pprof/"

    def ask(query: str, **headers: str) -> tuple[int, dict[str, str], str]:
        status, got, body = site.ask("GET", pprof + query, port=site.admin, **headers)
        return status, got, body.decode()

    def inside(pid: str) -> bool:
        return bool(listening(int(pid), site.port))

    pids = {}
    for name in ("1", "2"):
        _, headers, text = ask(f"profile?process={name}&seconds=0.3&clock=wall")
        found = re.fullmatch(rf"process {name}; pid=(\d+)", headers["x-profiled"])
        assert found and inside(found[1]) and "\nhttp-1;" in text
        pids[name] = found[1]
    assert pids["1"] != pids["2"]
    _, headers, text = ask("profile?process=admin&seconds=0.3&clock=wall")
    assert "\nadmin-timeouts;" in text and "http-1;" not in text
    assert all(pid not in headers["x-profiled"] for pid in pids.values())

    results: list[tuple[int, dict[str, str], str]] = []
    thread = threading.Thread(target=lambda: results.append(ask("profile?seconds=3&clock=wall")))
    thread.start()
    time.sleep(0.5)
    assert site.status(site.admin, "/readyz") == 200 and counted(site) == 0
    assert ask("profile")[0] == 503, "one at a time"
    thread.join()
    ((status, _, text),) = results
    assert status == 200 and "process_1;http-1;" in text and "process_2;http-1;" in text

    status, _, text = ask("gc?top=3", Accept="application/json")
    assert [row["process"] for row in json.loads(text)["processes"]] == ["1", "2"]
    assert ask("heap?seconds=0.2&process=2")[2].startswith(f"process 2 (pid {pids['2']})")
    assert ask("threads")[2].count('Thread "http-1"') == 2
    assert ask("profile?process=3")[0] == 400

    os.kill(int(pids["1"]), signal.SIGKILL)
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
    old = f"(pid {pids['1']})"
    answers = lambda: ask("threads?process=1")  # noqa: E731
    process.wait_for(lambda: old not in answers()[2] and answers()[0] == 200, "the new one")
    page = site.ask("GET", "/", port=site.admin)[2].decode()
    assert "<li>processes <b>2</b></li>" in page
    assert process.stop() == 0 and "Traceback" not in process.log


@pytest.mark.thorough
def test_a_process_that_hangs_is_named_and_silences_nobody(site: Any) -> None:
    process = site.serve("--processes", "2")
    stopped = min(pid for pid in children(process) if listening(pid, site.port))
    os.kill(stopped, signal.SIGSTOP)
    try:
        results: list[tuple[int, str]] = []

        def ask() -> None:
            status, _, body = site.ask("GET", "/debug/pprof/threads", port=site.admin)
            results.append((status, body.decode()))

        threads = [threading.Thread(target=ask) for _ in range(5)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        assert site.status(site.admin, "/healthz") == 200
        for thread in threads:
            thread.join()
        assert time.monotonic() - begun < 30
        profile = site.ask("GET", "/debug/pprof/profile?seconds=0.5&clock=wall", port=site.admin)
        assert profile[0] == 200 and b"http-1" in profile[2]
    finally:
        os.kill(stopped, signal.SIGCONT)
    told = [text for status, text in results if status == 200]
    assert told and all(re.search(r"\nprocess [12]: no answer\n\Z", text) for text in told)
    assert all('Thread "http-1"' in text for text in told), "the other one's stacks"
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
    assert process.stop() == 0, process.log


@pytest.mark.thorough
def test_who_asks_beside_others_whether_all_are_ready_waits_for_none_of_them(site: Any) -> None:
    process = site.serve("--processes", "2")
    stopped = min(pid for pid in children(process) if listening(pid, site.port))
    os.kill(stopped, signal.SIGSTOP)
    try:
        asked = [partial(site.ask, "GET", path, port=site.admin) for path in PROBES]
        begun = time.monotonic()
        with ThreadPoolExecutor(len(asked)) as pool:
            told = list(pool.map(lambda ask: ask(), asked))
        assert time.monotonic() - begun < 15, "one after the other would take 16 s"
    finally:
        os.kill(stopped, signal.SIGCONT)
    for status, _, body in told[::2]:
        (reason,) = json.loads(body)["reasons"].items()
        assert status == 503 and reason[0].startswith("process ")
        assert reason[1] == "does not answer"
    assert all(status == 200 and b"\nforge_ready 0\n" in body for status, _, body in told[1::2])
    process.wait_for(lambda: site.status(site.admin, "/readyz") == 200, "ready again")
    assert process.stop() == 0, process.log


@pytest.mark.thorough
def test_a_profile_of_several_processes_does_not_hold_up_their_end(site: Any) -> None:
    process = site.serve("--processes", "2")
    results: list[int] = []
    path = "/debug/pprof/profile?seconds=100&clock=wall"
    asks = lambda: results.append(site.ask("GET", path, port=site.admin)[0])  # noqa: E731
    thread = threading.Thread(target=asks)
    thread.start()
    process.wait_for(
        lambda: b"sampling.py" in site.ask("GET", "/debug/pprof/threads", port=site.admin)[2],
        "a profile",
    )
    assert process.stop() == 0, process.log  # within its deadline, not after 100 s
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.thorough
def test_a_log_that_nobody_reads_stops_neither_the_replacing_nor_the_end(site: Any) -> None:
    """stderr is a pipe, which is full once the site serves."""
    done = site.run("migrate", "up")
    assert done.returncode == 0, done.stderr
    read, write = os.pipe()
    command = [*PYTHON, str(site.artifact), "serve", "--processes", "2"]
    parent = subprocess.Popen(command, env=site.environ, stderr=write)
    reading = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 1), b"\0")])
    reading.start()
    try:
        until(lambda: site.status(site.admin, "/readyz") == 200)
        os.write(write, b"\0")  # from here on nobody reads
        reading.join(30)
        full = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while os.write(full, b"x" * 4096):
                pass
        children_of = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        before = set(map(int, children_of.read_text().split()))
        served = next(pid for pid in before if listening(pid, site.port))
        os.kill(served, signal.SIGKILL)
        until(lambda: len(set(map(int, children_of.read_text().split())) - {served}) == 3)
        until(lambda: site.status(site.admin, "/readyz") == 200)
        os.close(full)
    finally:
        parent.terminate()
        assert parent.wait(60) == 0
        os.close(read)
        os.close(write)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.thorough
def test_what_waits_for_the_database_is_told_within_seconds_to_everybody(
    site: Any, processes: str
) -> None:
    """As when PostgreSQL stands still: who watches must hear why, and a probe is not to wait."""
    site.serve("--processes", processes)
    answers: list[tuple[str, int, bytes]] = []

    def ask(path: str) -> None:
        status, _, body = site.ask("GET", path, port=site.admin)
        answers.append((path, status, body))

    with psycopg.connect(site.environ["FORGE_DATABASE_MIGRATE_URL"]) as conn:
        conn.execute("lock table forge_migration in access exclusive mode")
        waiting = [
            threading.Thread(target=ask, args=[path]) for path in ("/readyz", "/metrics") * 2
        ]
        for thread in waiting:
            thread.start()
        until(lambda: conn.execute(WAITING).fetchone() == (1,))
        assert site.status(site.admin, "/healthz") == 200
        for thread in waiting:
            thread.join(30)
        assert conn.execute(WAITING).fetchone() == (1,), "it waits no more, and proves nothing"
    for path, status, body in answers:
        if path == "/readyz":
            reasons = json.loads(body)["reasons"]
            assert status == 503 and set(reasons.values()) == {"does not answer"}, reasons
            assert all("database" in name for name in reasons), reasons
        else:
            assert status == 200 and b"\nforge_ready 0\n" in body
    assert len(answers) == 4
    until(lambda: site.status(site.admin, "/readyz") == 200)


WAITING = """
select 1 from pg_locks where not granted and relation = 'forge_migration'::regclass limit 1
"""
