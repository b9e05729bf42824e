"""Whether every job that waits has somebody who works it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..db import Connection
from ..errors import ForgeError
from ..jobs import Kind, control
from .finding import Finding

SUBJECT = "jobs"


def check_jobs(
    connect: Callable[[], Connection], kinds: Callable[[], Mapping[str, Kind]]
) -> Sequence[Finding]:
    """kinds: those of this code; raises where a hook or a schedule names another."""
    try:
        known = kinds()
        with connect() as conn:
            stats = control.stats(conn)
    except ForgeError as err:
        return [Finding(SUBJECT, "failed", err.message, err.hint or "")]
    found = []
    for kind in stats["unknown"]:
        if kind not in known:
            hint = "another release has it, or its class is not in WORKERS (help F716)"
            found.append(Finding(SUBJECT, "failed", f"jobs of kind {kind} wait for nobody", hint))
        else:
            hint = "start `worker`, or `serve` with jobs.enabled"
            message = f"jobs of kind {kind} wait, and no worker that lives has it"
            found.append(Finding(SUBJECT, "warning", message, hint))
    for name in stats["unworked"]:
        hint = f"give it threads: jobs.queues, or worker --queues {name}=2"
        message = f"jobs of the queue {name} wait, and no worker that lives works it"
        found.append(Finding(SUBJECT, "warning", message, hint))
    for queue in stats["queues"]:
        if queue["paused_at"]:
            message = f"the queue {queue['name']} is paused since {queue['paused_at']}"
            found.append(Finding(SUBJECT, "warning", message, f"jobs resume {queue['name']}"))
    return found or [Finding(SUBJECT, "ok", f"every waiting job has a worker; kinds: {len(known)}")]
