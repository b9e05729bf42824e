"""EmbeddedServer: a PostgreSQL on this machine that lives in one folder and ends with its starter.

The folder holds `pg` (PostgreSQL's data), `credentials.json` (0600), `server.log` and `lock`. The
server listens on 127.0.0.1 only and wants SCRAM passwords.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from ...errors import ForgeError, Unavailable
from ..connection import connect
from ..roles import ensure_app_role
from . import binaries
from .bootstrap import ensure_database, load_credentials, url

START_TIMEOUT = 60.0  # seconds, initdb included
LOCK_TIMEOUT = 20.0  # seconds that a server whose starter was killed gets to end
SHUTDOWN_TIMEOUT = 10.0  # seconds of a fast shutdown, before an immediate one
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


class EmbeddedServer:
    """A development server with a database, an owner role and an application role.

    data: its folder; made when missing, kept at stop. port: 0 takes a free one. settings: as in
    postgresql.conf. bin: PostgreSQL's programs (default: looked for, see `binaries`).

    The server ends when stop() is called and when the starting process ends in any way, also by
    SIGKILL. A child that the starter forked without exec keeps it alive.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        database: str = "app",
        settings: Mapping[str, str] | None = None,
        owner_role: str = "owner",
        app_role: str = "app",
        bin: Path | None = None,
    ) -> None:
        self.data = Path(data).absolute()
        self.port = port
        self.database = database
        self.mode = ""
        self._wanted_port = port
        self._settings = dict(settings or {})
        self._roles = {"admin": "postgres", "owner": owner_role, "app": app_role}
        self._bin = bin
        self._passwords: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server was started by this object and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def owner_url(self) -> str:
        """For migrations: owns the database, may create roles and databases, is no superuser."""
        return self._url("owner")

    @property
    def app_url(self) -> str:
        """For the application: owns nothing."""
        return self._url("app")

    @property
    def admin_url(self) -> str:
        """The superuser's, for tests."""
        return self._url("admin")

    def start(self) -> None:
        """Start, and return when both roles can connect. Idempotent.

        Raises Unavailable: F420 no PostgreSQL here, F421 cannot run as root here, F422 it did not
        start, F423 another server runs on this folder, F424 the folder's passwords are gone, F425
        port in use.
        """
        if self.running:
            return
        self.stop()  # what is left of a server that ended by itself
        _make_folder(self.data)
        lock = _lock(self.data)
        try:
            self._passwords = load_credentials(self.data)
            found = self._find()
            self._launch_at_free_port(found, lock)
        finally:
            os.close(lock)
        try:
            self._bootstrap()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: clients are disconnected, nothing committed is lost. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(SHUTDOWN_TIMEOUT + 30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _find(self) -> binaries.Binaries:
        if self._bin is not None:
            return binaries.Binaries(self._bin, binaries.major_of(self._bin))
        made_by = self.data / "pg" / "PG_VERSION"
        return binaries.find(int(made_by.read_text()) if made_by.exists() else None)

    def _launch_at_free_port(self, found: binaries.Binaries, lock: int) -> None:
        """Somebody may take the port between our look and PostgreSQL's: then another one."""
        for last in (False, False, False, True):
            self.port = self._wanted_port or _free_port()
            try:
                self._launch(found, lock)
                return
            except Unavailable as err:
                if "Address already in use" not in err.message:
                    raise
                if self._wanted_port or last:
                    raise Unavailable(
                        f"port {self.port} is in use, so PostgreSQL cannot listen there",
                        code="F425",
                        hint="stop the other program, or take port 0 for any free one",
                    ) from None

    def _launch(self, found: binaries.Binaries, lock: int) -> None:
        refusals = []
        modes = ("namespace", "nobody", "staged") if os.geteuid() == 0 else ("direct",)
        for mode in modes:
            answer = self._supervise(mode, found, lock)
            if "ready" in answer:
                self.mode = mode
                return
            self.stop()
            if "refused" not in answer:
                raise Unavailable(
                    f"PostgreSQL did not start: {answer.get('failed', 'no answer in time')}",
                    code="F422",
                    hint=f"see {self.data / 'server.log'}",
                )
            refusals.append(f"{mode}: {answer['refused']}")
        raise Unavailable(
            "PostgreSQL cannot run here as root (" + "; ".join(refusals) + ")",
            code="F421",
            hint="run as another user, or set FORGE_DATABASE_URL to a server that runs",
        )

    def _supervise(self, mode: str, found: binaries.Binaries, lock: int) -> dict[str, object]:
        code = (files(__package__ or "") / "supervisor.py").read_text("utf-8")
        task = {
            "mode": mode,
            "bin": str(found.folder),
            "data": str(self.data),
            "initdb": _initdb_arguments(found.major),
            "settings": {**SETTINGS, **self._settings, "port": str(self.port)},
            "lock": lock,
            "shutdown": SHUTDOWN_TIMEOUT,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the starter, which then stops us in its order
            pass_fds=[lock],
            cwd="/",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(self._passwords["admin"].encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], START_TIMEOUT)[0]:
            return {}
        answer: dict[str, object] = json.loads(self._process.stdout.readline() or b"{}")
        return answer

    def _bootstrap(self) -> None:
        admin = url(self._roles["admin"], self._passwords["admin"], self.port, "postgres")
        with connect(admin) as conn:
            ensure_database(conn, self._roles["owner"], self._passwords["owner"], self.database)
        with connect(self.owner_url) as conn:
            ensure_app_role(
                conn,
                self._roles["app"],
                password=self._passwords["app"],
                database=self.database,
            )

    def _url(self, who: str) -> str:
        if not self.running:
            raise ForgeError("the embedded server does not run, so it has no address", code="F422")
        return url(self._roles[who], self._passwords[who], self.port, self.database)


def _make_folder(data: Path) -> None:
    if not data.exists():
        data.mkdir(parents=True)
        data.chmod(0o711)  # user nobody must be able to pass; what lies inside is 0700 and 0600


def _lock(data: Path) -> int:
    """LOCK: one server per folder. Supervisor and postgres inherit it, so it ends with the last of
    them.
    """
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise Unavailable(
                    f"another server runs on {data}",
                    code="F423",
                    hint="stop the other process, or use another folder",
                ) from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _initdb_arguments(major: int) -> list[list[str]]:
    """What to try, best first: UTF-8 rules for letters, from PostgreSQL itself where it has
    them.
    """
    common = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
    builtin = [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
    system = [["--locale=C.UTF-8"], ["--no-locale"]]
    return [[*common, *more] for more in (builtin if major >= 17 else []) + system]
