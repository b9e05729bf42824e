"""A real Prometheus server that scrapes a test's target in both formats."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from artifact_runner import free_port

DEADLINE = 60.0  # seconds
CONFIG = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
  - job_name: openmetrics
    scrape_protocols: [OpenMetricsText1.0.0]
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: text
    scrape_protocols: [PrometheusText0.0.4]
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """A running server; `ask` is its HTTP API."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; an AssertionError where there is none."""
        conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            conn.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            answer = json.loads(conn.getresponse().read())
        finally:
            conn.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Until `done` or the deadline; it may not answer yet."""
        end = time.monotonic() + DEADLINE
        while True:
            try:
                if done():
                    return
            except (OSError, ValueError):
                pass
            assert time.monotonic() < end, f"{what} did not happen"
            time.sleep(0.1)

    def up(self) -> bool:
        """Both formats are scraped: a scrape that cannot be read is down."""
        rows = self.ask("query", query="up")["result"]
        return {row["metric"]["job"]: row["value"][1] for row in rows} == {
            "openmetrics": "1", "text": "1",
        }  # fmt: skip


@pytest.fixture
def prometheus_of(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """prometheus_of(port, *rules) starts one that scrapes this port; it is up."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus (Debian: prometheus)")
    with ExitStack() as stack:

        def start(target: int, *rules: Path) -> Prometheus:
            config, own = tmp_path / "prometheus.yml", free_port()
            config.write_text(CONFIG.format(port=target, rules=json.dumps(list(map(str, rules)))))
            command = [
                program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{own}", "--enable-feature=exemplar-storage",
            ]  # fmt: skip
            log = stack.enter_context((tmp_path / "prometheus.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait, 30)
            stack.callback(process.kill)
            server = Prometheus(own)
            server.wait_for(server.up, "a scrape of both formats")
            return server

        yield start
