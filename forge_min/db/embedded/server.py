"""EmbeddedServer: a PostgreSQL on this machine that lives in one folder and ends with its starter.

The folder holds `pg` (PostgreSQL's data), `credentials.json` (0600), `server.log` and `lock`. The
server listens on 127.0.0.1 only and wants SCRAM passwords.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ...errors import ForgeError, Unavailable
from ..connection import Connection, connect
from ..migrate import migration_lock
from ..roles import ensure_app_role
from ..statements import load_sql
from . import binaries
from .launcher import GuardedProcess, LaunchStrategy, collect_data, find_strategy, write_private

LOCK_TIMEOUT = 20.0  # seconds that a server whose starter was killed gets to end
SQL = load_sql("forge_min.db.embedded", "bootstrap.sql")
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}


@dataclass(eq=False, repr=False)
class EmbeddedServer:
    """A development server with a database, an owner role and an application role.

    data: its folder; made when missing, kept at stop. port: 0 takes a free one. settings: as in
    postgresql.conf. bin: PostgreSQL's programs (default: looked for, see `binaries`).

    The server ends when stop() is called and when the starting process ends in any way, also by
    SIGKILL. A child that the starter forked without exec keeps it alive.
    """

    data: Path
    _: KW_ONLY
    port: int = 0
    database: str = "app"
    settings: Mapping[str, str] = field(default_factory=dict)
    owner_role: str = "owner"
    app_role: str = "app"
    bin: Path | None = None

    def __post_init__(self) -> None:
        self.data = Path(self.data).absolute()
        self.mode = ""
        self._wanted_port = self.port
        self._roles = {"admin": "postgres", "owner": self.owner_role, "app": self.app_role}
        self._passwords: dict[str, str] = {}
        self._process: GuardedProcess | None = None
        self._lock: int | None = None  # a descriptor, held from start to stop

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
        start, or its folder cannot be written, F423 another server runs on this folder, F424 the
        folder's passwords are gone, F425 port in use.
        """
        if self.running:
            return
        self.stop()  # what is left of a server that ended by itself
        try:
            if not self.data.exists():
                self.data.mkdir(parents=True)
                self.data.chmod(0o711)  # user nobody passes; what lies inside is 0700 and 0600
            self._start(_lock(self.data))
        except OSError as err:
            self.stop()
            raise Unavailable(
                f"{self.data} cannot hold a database: {err.strerror or err}",
                code="F422",
                hint="make room, let this user write there, or give database.url of another server",
            ) from err
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: clients are disconnected, nothing committed is lost. Idempotent."""
        process, self._process = self._process, None
        lock, self._lock = self._lock, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()
        if lock is not None:
            try:
                if process is None or process.returncode in (0, 1):
                    collect_data(self.data)  # else somebody may run still: the next start does it
            finally:
                os.close(lock)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self, lock: int) -> None:
        self._lock = lock
        collect_data(self.data)
        self._passwords = load_credentials(self.data)
        place = find_strategy(self.data, self._find(), lock)
        place.initialise(self._passwords["admin"])
        self.mode, self.port = place.mode, _port(self._wanted_port)
        self._process = self._launch(place)
        place.wait_ready(self._process, self.data / "server.log")
        self._bootstrap()

    def _find(self) -> binaries.Binaries:
        made_by = self.data / "pg" / "PG_VERSION"
        major = int(made_by.read_text()) if made_by.exists() else None
        return binaries.find(major, [self.bin] if self.bin else None)

    def _launch(self, place: LaunchStrategy) -> GuardedProcess:
        # SAFETY: whoever holds the lock knows that no server runs on this folder, so the file is
        # stale. PostgreSQL would believe it where another process has the number by now.
        (place.pg / "postmaster.pid").unlink(missing_ok=True)
        log = self.data / "server.log"
        if log.exists():
            log.replace(self.data / "server.log.1")
        values = {**SETTINGS, **self.settings, "port": str(self.port)}
        settings = [f"--{name}={value}" for name, value in values.items()]
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
            return place.start("postgres", "-D", str(place.pg), *settings, output=out)

    def _bootstrap(self) -> None:
        with connect(self._url("admin", "postgres")) as conn:
            values = {"owner": self.owner_role, "password": self._passwords["owner"]}
            values["database"] = self.database
            # The owner is no superuser; it may create roles and databases, which a test suite and
            # `ensure_app_role` need.
            for row in conn.execute(SQL["missing"], values).fetchall():
                conn.execute(row[0])
        with connect(self.owner_url) as conn:
            app, password = self._roles["app"], self._passwords["app"]
            ensure_app_role(conn, app, password=password, database=self.database)

    def _url(self, who: str, database: str = "") -> str:
        if not self.running:
            raise ForgeError("the embedded server does not run, so it has no address", code="F422")
        name = quote(database or self.database, safe="")
        role = f"{quote(self._roles[who])}:{self._passwords[who]}"
        return f"postgresql://{role}@127.0.0.1:{self.port}/{name}"


def _lock(data: Path) -> int:
    """LOCK: one server per folder. Keeper and postgres inherit it: it ends with the last of us."""
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
            time.sleep(0.05)  # flock(2) has no timeout


def _port(wanted: int) -> int:
    """The port if it is free, or any free one for 0. Raises Unavailable F425."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as err:
            raise Unavailable(
                f"port {wanted} cannot be had, so PostgreSQL cannot listen there: {err.strerror}",
                code="F425",
                hint="stop the other program, or take port 0 for any free one",
            ) from None
        return int(probe.getsockname()[1])


def load_credentials(data: Path) -> dict[str, str]:
    """The passwords of admin, owner and app: random for a new folder, in a file of mode 0600.

    Raises Unavailable F424 when the folder has data and no passwords.
    """
    path = data / "credentials.json"
    if path.exists():
        passwords: dict[str, str] = json.loads(path.read_text("utf-8"))
        return passwords
    if (data / "pg").exists():
        raise Unavailable(
            f"{path} is missing, so nobody can log in to the data beside it",
            code="F424",
            hint="restore the file, or remove the folder and start with an empty database",
        )
    passwords = {role: os.urandom(24).hex() for role in ("admin", "owner", "app")}
    new = path.with_suffix(".new")
    write_private(new, json.dumps(passwords))
    new.replace(path)
    return passwords


@contextmanager
def scratch_database(owner_url: str) -> Iterator[Connection]:
    """A connection to a new, empty database of the server at `owner_url`; dropped afterwards.

    `migrate diff` compares in it. Its name is the same each time for one database, so the next one
    replaces what a kill left behind.
    Where that role may not create databases, it is one of an embedded server in a temporary folder.
    Raises Unavailable F408 when there is none here either, else as `connect` and `migration_lock`.
    """
    with connect(owner_url) as owner, migration_lock(owner):
        name = f"forge_scratch_{hashlib.sha256(owner.info.dbname.encode()).hexdigest()[:16]}"
        database = sql.Identifier(name)
        try:
            _drop(owner, database)
            owner.execute(sql.SQL("create database {} template template0").format(database))
        except psycopg.errors.InsufficientPrivilege:
            with _embedded() as conn:
                yield conn
            return
        try:
            with connect(make_conninfo(owner_url, dbname=name)) as conn:
                yield conn
        finally:
            _drop(owner, database)


def _drop(owner: Connection, database: sql.Identifier) -> None:
    drop = sql.SQL("drop database if exists {}").format(database)
    try:
        owner.execute(drop + sql.SQL(" with (force)"))
    except psycopg.errors.InsufficientPrivilege:
        owner.execute(drop)  # without FORCE it ends what autovacuum does there


@contextmanager
def _embedded() -> Iterator[Connection]:
    with TemporaryDirectory(prefix="forge-scratch-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder, "server"), settings={"fsync": "off"})
        try:
            server.start()
        except Unavailable as err:
            raise Unavailable(
                f"this role may not create a scratch database, and here is no other: {err.message}",
                code="F408",
                hint="give the owner CREATEDB (alter role ... createdb)",
            ) from err
        with server, connect(server.owner_url) as conn:
            yield conn
