"""EmbeddedServer: a PostgreSQL server on this machine that ends with the process that started it.

Its folder contains `pg` (PostgreSQL's data), `credentials.json` (mode 0600), `server.log` and
`lock`. The server listens on 127.0.0.1 only and requires SCRAM passwords.
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
from ...sql_files import load_sql
from ..connection import Connection, connect
from ..migrate import migration_lock
from ..roles import ensure_app_role
from . import binaries
from .launcher import GuardedProcess, LaunchStrategy, find_strategy, write_private

LOCK_TIMEOUT = 20.0  # seconds to wait for a server to end after its starter was killed
SQL = load_sql("forge_min.db.embedded", "bootstrap.sql")
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}


@dataclass(eq=False, repr=False)
class EmbeddedServer:
    """A development server with a database, an owner role and an application role.

    data: its folder, created if missing and kept at `stop`.
    port: 0: any free port.
    database: name of the database.
    settings: of PostgreSQL, as in postgresql.conf.
    owner_role, app_role: names of the two roles.
    bin: folder of PostgreSQL's programs; None: found by `binaries.find`.

    The server ends with `stop` and when the starting process ends in any way, also by SIGKILL. A
    child that the starter forked without exec keeps it alive.
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
        self._configured_port = self.port
        self._roles = {"admin": "postgres", "owner": self.owner_role, "app": self.app_role}
        self._passwords: dict[str, str] = {}
        self._process: GuardedProcess | None = None
        self._lock: int | None = None  # a descriptor, held from start to stop

    @property
    def running(self) -> bool:
        """Whether this object started the server and it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def owner_url(self) -> str:
        """URL for migrations: owns the database and may create roles, but is not a superuser."""
        return self._url("owner")

    @property
    def app_url(self) -> str:
        """URL for the application: its role owns nothing."""
        return self._url("app")

    @property
    def admin_url(self) -> str:
        """URL of the superuser, for tests."""
        return self._url("admin")

    def start(self) -> None:
        """Start the server and return when both roles can connect. Idempotent.

        Raises Unavailable: F420 PostgreSQL is not installed, F421 it cannot run as root here, F422
        it did not start or cannot write the folder, F423 another server runs on the folder, or
        the port is in use, F424 the file with the passwords is missing.
        """
        if self.running:
            return
        self.stop()  # clean up after a server that ended by itself
        try:
            if not self.data.exists():
                self.data.mkdir(parents=True)
                self.data.chmod(0o711)  # user 65534 enters; files inside have mode 0700 or 0600
            self._start(_lock(self.data))
        except OSError as err:
            self.stop()
            raise Unavailable(
                f"{self.data} cannot hold a database: {err.strerror or err}",
                code="F422",
                hint="free disk space, allow this user to write there, or set database.url",
            ) from err
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop by a fast shutdown: disconnects clients and loses no committed data. Idempotent."""
        process = self._process
        lock = self._lock
        self._process = None
        self._lock = None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self, lock: int) -> None:
        self._lock = lock
        self._passwords = load_credentials(self.data)
        version = self.data / "pg" / "PG_VERSION"
        major = int(version.read_text()) if version.exists() else None
        folders = [self.bin] if self.bin else None
        programs = binaries.find(major, folders)
        strategy = find_strategy(self.data, programs, lock)
        is_test = self.settings.get("fsync") == "off"
        strategy.initialise(self._passwords["admin"], for_tests=is_test)
        self.mode = strategy.mode
        self.port = _port(self._configured_port)
        self._process = self._launch(strategy)
        strategy.wait_ready(self._process, self.data / "server.log")
        self._bootstrap()

    def _launch(self, strategy: LaunchStrategy) -> GuardedProcess:
        # SAFETY: under the lock no server runs on this folder, so the file is stale. PostgreSQL
        # would not start if another process has the number by now.
        (strategy.pg / "postmaster.pid").unlink(missing_ok=True)
        log = self.data / "server.log"
        if log.exists():
            log.replace(self.data / "server.log.1")
        values = {**SETTINGS, **self.settings, "port": str(self.port)}
        settings = [f"--{name}={value}" for name, value in values.items()]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "wb") as out:
            return strategy.start("postgres", "-D", str(strategy.pg), *settings, output=out)

    def _bootstrap(self) -> None:
        with connect(self._url("admin", "postgres")) as conn:
            values = {
                "owner": self.owner_role,
                "password": self._passwords["owner"],
                "database": self.database,
            }
            # The owner is not a superuser, but may create roles and databases: test suites and
            # `ensure_app_role` need that.
            for row in conn.execute(SQL["missing"], values).fetchall():
                conn.execute(row[0])
        with connect(self.owner_url) as conn:
            ensure_app_role(conn, self.app_role, password=self._passwords["app"])

    def _url(self, role: str, database: str = "") -> str:
        if not self.running:
            raise ForgeError("the embedded server is not running, so it has no URL", code="F422")
        name = quote(database or self.database, safe="")
        credentials = f"{quote(self._roles[role])}:{self._passwords[role]}"
        return f"postgresql://{credentials}@127.0.0.1:{self.port}/{name}"


def _lock(data: Path) -> int:
    """Return a descriptor of the folder's lock. Raises Unavailable F423 after LOCK_TIMEOUT.

    LOCK: one server per folder. The process guard and PostgreSQL inherit the descriptor, so the
    lock ends with the last of them.
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
            time.sleep(0.05)  # flock(2) has no timeout


def _port(port: int) -> int:
    """Return the port if it is free, or any free one for 0. Raises Unavailable F423."""
    try:
        with socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as err:
        raise Unavailable(
            f"PostgreSQL cannot listen on port {port}: {os.strerror(err.errno or 0)}",
            code="F423",
            hint="stop the other program, or use port 0 for any free port",
        ) from None


def load_credentials(data: Path) -> dict[str, str]:
    """Return the passwords of admin, owner and app; create random ones for a new folder.

    Raises Unavailable F424 if the folder has data and no passwords.
    """
    path = data / "credentials.json"
    if path.exists():
        return dict(json.loads(path.read_text("utf-8")))
    if (data / "pg").exists():
        raise Unavailable(
            f"{path} is missing, so the passwords of the data beside it are unknown",
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
    """Yield a connection to a new, empty database of the server at `owner_url`, then drop it.

    `migrate diff` uses it for comparisons. For one database the name is always the same, so the
    next one replaces a database left by a killed process. If the role may not create databases, an
    embedded server in a temporary folder is used. Raises Unavailable F408 if that cannot be
    started either, and the errors of `connect` and `migration_lock`.
    """
    with connect(owner_url) as owner, migration_lock(owner):
        hashed = hashlib.sha256(owner.info.dbname.encode()).hexdigest()
        name = f"forge_scratch_{hashed[:16]}"
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
        owner.execute(drop)  # this ends autovacuum there; FORCE needs more rights


@contextmanager
def _embedded() -> Iterator[Connection]:
    with TemporaryDirectory(prefix="forge-scratch-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder, "server"), settings={"fsync": "off"})
        try:
            server.start()
        except Unavailable as err:
            raise Unavailable(
                f"this role may not create a scratch database, and no other works: {err.message}",
                code="F408",
                hint="allow the owner to create databases: alter role ... createdb",
            ) from err
        with server, connect(server.owner_url) as conn:
            yield conn
