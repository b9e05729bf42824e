"""Jobs as part of somebody else's statement: the CTE that hooks add to a write, and its
parameters.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,50}")


class JobRef(Protocol):
    """What a hook says about its job. delay: seconds. max_attempts None = 25."""

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


def job_fragment(source: str, prefix: str, *, before: str | None = None) -> str:
    """The body of a CTE that inserts one job per row of the CTE `source`, which has id and
    version.

    The job's args are {resource, id, operation, version} and, with `before` (an SQL expression
    over `source`, written by our own code, that gives jsonb), also before. Every placeholder
    begins with `prefix` and is filled by `job_params`. Raises ValueError for a name that is none.
    """
    for name in (source, prefix):
        if not PREFIX.fullmatch(name):
            raise ValueError(f"not a plain SQL name: {name!r}")
    extra = f", 'before', {before}" if before else ""
    return (
        "insert into forge_job\n"
        "  (kind, queue, priority, max_attempts, metadata, args, state, scheduled_at)\n"
        f"select %({prefix}kind)s::text, %({prefix}queue)s::text, %({prefix}priority)s::smallint,\n"
        f"  %({prefix}max_attempts)s::smallint, %({prefix}metadata)s::jsonb,\n"
        f"  jsonb_build_object('resource', %({prefix}resource)s::text, 'id', {source}.id,\n"
        f"    'operation', %({prefix}operation)s::text, 'version', {source}.version{extra}),\n"
        f"  case when %({prefix}delay)s::float8 > 0 then 'scheduled' else 'available' end,\n"
        f"  now() + %({prefix}delay)s::float8 * interval '1 second'\n"
        f"from {source}"
    )


def job_params(
    prefix: str, ref: JobRef, resource: str, operation: str, traceparent: str | None
) -> dict[str, Any]:
    """The values of `job_fragment`'s placeholders. operation: create, update or delete."""
    return {
        f"{prefix}kind": ref.kind,
        f"{prefix}queue": ref.queue,
        f"{prefix}priority": ref.priority,
        f"{prefix}max_attempts": ref.max_attempts or 25,
        f"{prefix}metadata": json.dumps({"traceparent": traceparent} if traceparent else {}),
        f"{prefix}resource": resource,
        f"{prefix}operation": operation,
        f"{prefix}delay": float(ref.delay),
    }
