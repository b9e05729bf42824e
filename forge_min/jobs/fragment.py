"""The job of a hook, as a part of the statement that writes its row. Nothing here is executed."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Protocol

from .. import db
from ..notify.eventlog import check_names
from .job import SQL


class JobRef(Protocol):
    """What a hook says about its job. delay: seconds. max_attempts None = 25.

    Whether it is unique is said to `job_fragment`.
    """

    @property
    def kind(self) -> str:
        """The worker's kind."""

    @property
    def queue(self) -> str:
        """The queue's name."""

    @property
    def priority(self) -> int:
        """1 (first) to 4."""

    @property
    def max_attempts(self) -> int | None:
        """How often the job may be tried."""

    @property
    def delay(self) -> int:
        """Seconds until the job is due."""


def job_fragment(
    source: str,
    ref: JobRef,
    resource: str,
    operation: str,
    *,
    metadata_param: str,
    before: str | None = None,
    key: str = "id",
    unique: bool = False,
    tenant_param: str | None = None,
    without: Sequence[str] = (),
) -> str:
    """The body of a CTE that inserts one job per row of the CTE `source`, which has version and the
    column `key`.

    The job's args are {resource, id, operation, version} and, with `before` (an SQL expression
    over `source`, written by our own code, that gives jsonb), also before, less the names in
    `without`. operation: create, update, delete or restore. unique: none is added while one of the
    same kind and row waits; its unique key is its limit_key, too. metadata_param: the placeholder
    with the JSON of `caused_by`; tenant_param: the one with the tenant of a row whose key another
    tenant's row may have too.
    Raises ValueError for a name that is none.
    """
    check_names(source, metadata_param, key, tenant_param or "none", *without)
    less = f" - '{{{','.join(without)}}}'::text[]" if without else ""
    id, owner = f'{source}."{key}"', f"%({tenant_param})s::text, " if tenant_param else ""
    names = f"{db.literal(ref.kind)}, {db.literal(resource)}, {owner}{id}"
    unique_key = f"concat_ws(':', {names})" if unique else "null"
    return Template(SQL["fragment"]).substitute(
        source=source,
        kind=db.literal(ref.kind),
        queue=db.literal(ref.queue),
        priority=int(ref.priority),
        max_attempts=int(ref.max_attempts or 25),
        metadata=metadata_param,
        resource=db.literal(resource),
        operation=db.literal(operation),
        id=id,
        before=f", 'before', ({before}){less}" if before else "",
        state="'scheduled'" if ref.delay > 0 else "'available'",
        delay=f" + interval '{float(ref.delay)} seconds'" if ref.delay > 0 else "",
        unique_key=unique_key,
        unless_waiting=Template(SQL["unless_waiting"]).substitute(unique_key=unique_key)
        if unique
        else "",
    )
