"""What Python itself would write to stderr is a line of the log like any other."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import threading, warnings
from forge_min.config import load
from forge_min.ops.serve import _log_to_stderr

environ = {"FORGE_ENV": "production", "FORGE_AUTH_SECRET": "s" * 40,
           "FORGE_DATABASE_URL": "postgresql://shop@db.example/shop"}
_log_to_stderr(load(None, environ))


class Bad:
    def __del__(self):
        raise RuntimeError("in the end\\nforged line")


def ends():
    raise RuntimeError("password=hunter2\\nforged line")


DOES = {
    "thread": lambda: threading.Thread(target=ends, name="mine").start(),
    "warning": lambda: warnings.warn("careful\\nforged line"),
    "unraisable": lambda: Bad() and None,
}
DOES[%r]()
"""


@pytest.mark.parametrize(
    ("does", "level", "logger", "says"),
    [
        ("thread", "error", "forge_min", "the thread mine ended by an exception"),
        ("warning", "warning", "py.warnings", "careful"),
        ("unraisable", "error", "forge_min", "Exception ignored in"),
    ],
)
def test_it_is_one_line_of_json_without_secrets(
    does: str, level: str, logger: str, says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE % does], capture_output=True, text=True, check=True
    )
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert (told["level"], told["logger"]) == (level, logger) and says in told["message"]
    assert "hunter2" not in line and "forged line" in line
