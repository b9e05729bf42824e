"""One statement in one round trip, with the tenant whose rows it may touch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg

from .connection import operation
from .translate import translate

SET_TENANT = "select set_config('forge.tenant_id', %s, true)"
Params = Mapping[str, Any] | Sequence[Any] | None


def run(
    conn: psycopg.Connection[Any], sql: str, params: Params = None, *, tenant: UUID | None = None
) -> list[tuple[Any, ...]]:
    """Execute `sql`; its rows, [] for a statement that gives none.

    tenant: set for this statement's transaction, as row-level security asks. Both go out in one
    pipeline, which is one round trip and, outside a transaction of the caller's, one implicit
    transaction (PostgreSQL manual, section 32.5); inside one, the tenant stays set until its end.
    Raises the errors of `db.translate`.
    """
    # PERF: try costs a third of what a context manager does (benchmarks/http, row).
    try:
        if tenant is None:
            cursor = conn.execute(sql, params)
        else:
            cursor = _for_tenant(conn, sql, params, tenant)
        # SAFETY: after the pipeline: inside it a row comes back before anything is committed.
        # PERF: cursor.description makes an object per column.
        result = cursor.pgresult
        return cursor.fetchall() if result is not None and result.nfields else []
    except psycopg.Error as err:
        raise translate(err) from err


def _for_tenant(
    conn: psycopg.Connection[Any], sql: str, params: Params, tenant: UUID
) -> psycopg.Cursor[Any]:
    started = time.perf_counter()
    try:
        with conn.pipeline():
            conn.execute(SET_TENANT, (str(tenant),))
            return conn.execute(sql, params)
    except Exception as err:
        confused = conn.pgconn.pipeline_status or isinstance(err, IndexError)
        if confused and not conn.closed:
            # SAFETY: the commit failed, and psycopg can neither leave the pipeline after that nor
            # say so: the connection is of no more use, and the reason is what went before.
            conn.close()
            raise _first(err) from None
        raise
    finally:
        observe = getattr(conn, "observe", None)
        if observe is not None:
            observe(operation(sql), time.perf_counter() - started)


def _first(err: BaseException) -> psycopg.Error:
    """The server's own error, behind those that it led to. Sometimes psycopg has dropped it: then
    it is told as one after which the same may be tried again, since nothing was committed.
    """
    behind: BaseException | None = err
    while behind is not None:
        if isinstance(behind, psycopg.Error) and behind.sqlstate:
            return behind
        behind = behind.__context__
    return psycopg.errors.SerializationFailure("the transaction failed at its end")
