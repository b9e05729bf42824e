"""worker: which jobs.py are loaded, and what is said of a queue that no worker serves."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from forge_min import db, jobs

pytestmark = pytest.mark.db
NIGHTLY = '''"""Jobs that no hook names."""


class Nightly:
    kind = "Nightly"
    queue = "index"

    def work(self, job: object) -> None:
        pass


WORKERS = [Nightly]
'''


def test_every_jobs_py_is_loaded_and_a_queue_without_a_worker_is_reported(
    library: Any, tmp_path: Path
) -> None:
    """The schema of Shelf has no hooks."""
    library.root = Path(shutil.copytree(library.root, tmp_path / "library"))
    (library.root / "resources" / "shelf" / "jobs.py").write_text(NIGHTLY)
    warning = "no worker serves the queue index, so jobs of Nightly wait"
    assert warning in start(library, "worker")
    assert "no worker serves" not in start(library, "worker", "--queues", "default=1,index=1")
    library.sql(
        "insert into forge_worker (id, host, pid, queues, kinds, expires_at) values"
        " (gen_random_uuid(), 'elsewhere', 1, '{\"index\": 2}', '{}', now() + interval '1 hour')"
    )
    assert "no worker serves" not in start(library, "worker")
    with db.connect(library.environ["FORGE_DATABASE_URL"]) as conn:
        job = jobs.insert_tx(conn, "Nightly", {}, queue="default")
    start(
        library, "worker", until=f"select 1 from forge_job where id = {job} and state = 'completed'"
    )


def start(library: Any, *command: str, until: str = "select 1") -> str:
    """What the command logs until it works its queues, and `until` has a row."""
    process = subprocess.Popen(
        library.argv(*command), env=library.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "working the queues" in line:
                break
        end = time.monotonic() + 20
        while not library.sql(until):
            assert process.poll() is None and time.monotonic() < end, "".join(lines)
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(30)
        with process:
            lines += process.stderr or []  # not communicate(): it would skip what is buffered
    return "".join(lines)
