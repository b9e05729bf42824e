"""The product's worker and client as an application runs them: retries, heartbeat, metrics, and a
trace of one in a hundred.

    python ours.py URL one|bulk|drain|pickup|insert [PREFETCH [JOBS]]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import JOBS, PAUSE, PICKED_UP, Seen, left, rate_of, ready, tell
from forge_min import db, jobs, notify, observe
from forge_min.app.telemetry import JobSpan, Metrics

LEFT = "select count(*) from forge_job where state <> 'completed'"
seen = Seen()


class Site:
    """What Runtime builds of it."""

    def __init__(self, url: str) -> None:
        self.nudger = notify.Nudger(lambda: db.connect(url))
        self.metrics = Metrics(observe.MetricRegistry(), {})
        catalogue = jobs.Catalogue(
            {"noop": jobs.Kind("noop")}, strict=True, inserted=self.metrics.jobs_inserted
        )
        self.database = db.Database(
            url,
            nudger=self.nudger,
            observe=self.metrics.query_done,
            jobs=catalogue,
            opened=observe.trace_connection,
        )
        observe.setup("bench", sample_ratio=0.01)
        self.nudger.start()

    @contextmanager
    def working(self, prefetch: int, **options: Any) -> Iterator[jobs.Worker]:
        """A worker of ten threads, woken by LISTEN. options: of `jobs.Worker`."""
        worker = jobs.Worker(
            self.database.connection,
            {"noop": lambda job: seen.hit(job.args["k"])},
            queues={"default": 10},
            prefetch=prefetch,
            observer=self.metrics.job_done,
            around=JobSpan,
            listen=self.database.connection,
            nudger=self.nudger,
            **options,
        )
        worker.start()
        yield worker
        worker.stop()


def most_memory() -> float:
    """MiB that this program had at most; getrusage tells of whoever started it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """One verb, one line of figures."""
    url, verb, *more = sys.argv[1:]
    prefetch, count = [*more, *["1", str(JOBS)][len(more) :]]
    site = Site(url)
    conn = site.database.connection()
    if verb == "one":
        tell(**rate_of(lambda: jobs.insert_tx(conn, "noop", {"k": -1})))
    elif verb == "bulk":
        began = time.monotonic()
        made = jobs.insert_many_tx(conn, (jobs.NewJob("noop", {"k": n}) for n in range(int(count))))
        tell(bulk_per_second=made / (time.monotonic() - began))
    elif verb == "drain":
        began = time.monotonic()
        with site.working(int(prefetch)):
            while seen.count < int(count):
                time.sleep(0.005)
            while left(url, LEFT):
                time.sleep(0.005)
            seconds = time.monotonic() - began
        tell(drain_per_second=int(count) / seconds, rss_mib=most_memory())
    elif verb == "pickup":
        with site.working(int(prefetch)):
            time.sleep(1.0)
            ready()
            until = time.monotonic() + 10
            while seen.count < PICKED_UP and time.monotonic() < until:
                time.sleep(0.05)
            tell(seen=seen.at)
    else:
        committed = {}
        for number in range(PICKED_UP):
            jobs.insert_tx(conn, "noop", {"k": number})
            committed[number] = time.monotonic()
            time.sleep(PAUSE)
        tell(committed=committed)


if __name__ == "__main__":
    main()
