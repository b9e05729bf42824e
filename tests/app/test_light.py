"""A process that exports no spans never loads the OpenTelemetry SDK."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import forge_min.app, forge_min.ops.serve, forge_min.jobs, forge_min.api.events
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_the_application_loads_without_opentelemetry() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
