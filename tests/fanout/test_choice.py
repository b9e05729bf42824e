"""Which twin `forge_min.fanout` takes."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

from forge_min import fanout


def _impl(program: str = "", **variables: str) -> str:
    environ = {k: v for k, v in os.environ.items() if k != "FORGE_IMPL"} | variables
    code = f"{program}\nfrom forge_min import fanout\nprint(fanout.IMPL, fanout.Topic.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30
    )
    return (done.stdout or done.stderr.splitlines()[-1]).strip()


WITHOUT_CORE = "import sys; sys.modules['forge_min._fanout'] = None"


def test_every_public_name_is_there() -> None:
    for name in fanout.__all__:
        assert getattr(fanout, name)


def test_the_python_twin_can_be_forced() -> None:
    assert _impl(FORGE_IMPL="python") == "python forge_min._fanout_py"


def test_the_compiled_core_is_taken_where_it_is_there(twins: tuple[ModuleType, ModuleType]) -> None:
    assert _impl() == "c forge_min._fanout"
    assert _impl(FORGE_IMPL="c") == "c forge_min._fanout"


def test_without_the_core_the_twin_runs_and_forcing_it_fails_loudly() -> None:
    assert _impl(WITHOUT_CORE) == "python forge_min._fanout_py"
    assert "the compiled core cannot be loaded" in _impl(WITHOUT_CORE, FORGE_IMPL="c")


def test_another_word_is_refused() -> None:
    assert "FORGE_IMPL must be 'c' or 'python', not 'rust'" in _impl(FORGE_IMPL="rust")
