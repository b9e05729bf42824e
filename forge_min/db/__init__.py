"""The database: connections, transactions with commit hooks, errors, named SQL, migrations, roles.

All other packages access PostgreSQL through this one; each of them owns its statements.
"""

from typing import TYPE_CHECKING

from ..errors import Unavailable
from ..lazy import lazy_exports
from ..resources import files
from ..sql_files import MigrationFile, load_sql, read_migrations

try:
    import psycopg  # noqa: F401  (first, so that a missing libpq gets this error)
except ImportError as err:
    raise Unavailable(
        "PostgreSQL's client library (libpq) was not found, so no database can be reached",
        code="F402",
        hint="pip install 'psycopg[binary]', or install libpq (Debian: libpq5, Alpine: libpq)",
    ) from err

from .connection import Connection, connect
from .database import Database
from .migrate import migrate, migrate_down, migration_lock, migration_status
from .replicas import (
    ANY_POSITION,
    UNKNOWN_POSITION,
    Consistency,
    Replica,
    Replicas,
    WalPosition,
    consistency,
    read_from_primary,
    standby_url,
)
from .roles import check_bound_role, ensure_app_role, role_findings
from .run import (
    is_idle,
    limit_lock_waits,
    lock_timeout,
    read,
    read_timeout,
    record_position,
    run,
)
from .servers import primary_time
from .statements import PLAN_ANEW, literal, sql_array
from .thread import (
    DATABASE_ERRORS,
    IDLE,
    Connect,
    DatabaseThread,
    Replaced,
    ThreadConnection,
    is_pooled,
)
from .transactions import (
    after_commit,
    notifies_in_transaction,
    nudge,
    query,
    run_checked,
    transaction,
)
from .translate import NoResponse, errors_translated, translate

if TYPE_CHECKING:
    from .embedded import EmbeddedServer, candidates, scratch_database, write_private

__getattr__ = lazy_exports(
    __name__,
    {"embedded": ["EmbeddedServer", "candidates", "scratch_database", "write_private"]},
)

# Migrations of the forge_ tables, applied before those of the project.
FORGE_MIGRATIONS = tuple(read_migrations(files(__name__) / "forge", "forge"))


__all__ = [
    "ANY_POSITION", "Connect", "Connection", "Consistency", "DATABASE_ERRORS", "Database",
    "DatabaseThread", "EmbeddedServer", "FORGE_MIGRATIONS", "IDLE", "MigrationFile", "NoResponse",
    "PLAN_ANEW", "Replaced", "Replica", "Replicas", "ThreadConnection", "UNKNOWN_POSITION",
    "WalPosition", "after_commit", "candidates", "check_bound_role", "connect", "consistency",
    "ensure_app_role", "errors_translated", "is_idle", "is_pooled", "limit_lock_waits", "literal",
    "load_sql", "lock_timeout", "migrate", "migrate_down", "migration_lock", "migration_status",
    "notifies_in_transaction", "nudge", "primary_time", "query", "read", "read_from_primary",
    "read_migrations", "read_timeout", "record_position", "role_findings", "run", "run_checked",
    "scratch_database", "sql_array", "standby_url", "transaction", "translate", "write_private",
]  # fmt: skip
