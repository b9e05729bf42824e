"""The job of a hook, as a part of the statement that writes its row. Nothing here is executed."""

from __future__ import annotations

from string import Template
from typing import NamedTuple

from .. import db
from ..notify.eventlog import check_names
from .job import SQL


class JobHook(NamedTuple):
    """A job that a write enqueues in its own statement. delay in seconds; max_attempts None = the
    default. unique: none is added while one for the same row waits.
    """

    kind: str
    queue: str = "default"
    priority: int = 2
    max_attempts: int | None = None
    delay: int = 0
    unique: bool = False


def job_fragment(
    source: str,
    hook: JobHook,
    resource: str,
    operation: str,
    *,
    metadata_param: str,
    before: str | None = None,
    key: str = "id",
    tenant_param: str | None = None,
) -> str:
    """The body of a CTE that inserts one job per row of the CTE `source`, which has version and the
    column `key`.

    The job's args are {resource, id, operation, version} and, with `before` (an SQL expression
    over `source`, written by our own code, that gives jsonb), also before. operation: create,
    update, delete or restore. The key of a unique job is its limit_key, too. metadata_param: the
    placeholder with the JSON of `caused_by`; tenant_param: the one with the tenant of a row whose
    key another tenant's row may have too.
    Raises ValueError for a name that is none.
    """
    check_names(source, metadata_param, key, tenant_param or "none")
    id, owner = f'{source}."{key}"', f"%({tenant_param})s::text, " if tenant_param else ""
    names = f"{db.literal(hook.kind)}, {db.literal(resource)}, {owner}{id}"
    unique_key, unless_waiting = "null", ""
    if hook.unique:
        unique_key = f"concat_ws(':', {names})"
        unless_waiting = Template(SQL["unless_waiting"]).substitute(unique_key=unique_key)
    return Template(SQL["fragment"]).substitute(
        source=source,
        kind=db.literal(hook.kind),
        queue=db.literal(hook.queue),
        priority=int(hook.priority),
        max_attempts=int(hook.max_attempts or 25),
        metadata=metadata_param,
        resource=db.literal(resource),
        operation=db.literal(operation),
        id=id,
        before=f", 'before', ({before})" if before else "",
        state="'scheduled'" if hook.delay > 0 else "'available'",
        delay=f" + interval '{float(hook.delay)} seconds'" if hook.delay > 0 else "",
        unique_key=unique_key,
        unless_waiting=unless_waiting,
    )
