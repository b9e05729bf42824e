"""Chooses the compiled core (`_fanout`) or its Python twin (`_fanout_py`) once, at import.

`IMPL` is "c" or "python". FORGE_IMPL=c or FORGE_IMPL=python forces one of them: without a compiled
core, c raises ConfigError (F280) instead of loading the twin. `_fanout.pyi` declares both. This
module is for other packages, not for users. They import Limiter from `forge_min.sse`.
"""

# ruff: noqa: F403, F405 (mypy reads the names from the stub)
import os
from typing import TYPE_CHECKING

from ._fanout_body_py import CHUNKED, BodyRefused, read_body
from .errors import ConfigError

__all__ = [
    "CHUNKED", "IMPL", "BodyRefused", "Counter", "Histogram", "IoThread", "Lease", "Limiter",
    "StreamWriter", "Subscription", "Task", "Topic", "begin_wait", "end_wait", "escape", "iso_utc",
    "make_rows", "read_body", "try_encode_json", "try_format_access_line", "try_format_head",
    "try_format_response", "try_read_request", "uuid_text",
]  # fmt: skip


_wanted = os.environ.get("FORGE_IMPL", "")
if _wanted not in ("", "c", "python"):
    raise ConfigError(
        f"FORGE_IMPL must be 'c' or 'python', not {_wanted!r}",
        code="F280",
        hint="unset FORGE_IMPL to use the compiled core if it is installed",
    )

IMPL = "python"
if _wanted != "python":
    try:
        from . import _fanout as _core

        IMPL = "c"
    except ImportError as err:
        if _wanted == "c":
            raise ConfigError(
                "FORGE_IMPL=c, but the compiled core cannot be loaded",
                code="F280",
                hint="build it with `python setup.py build_ext --inplace`, or unset FORGE_IMPL",
            ) from err

if IMPL == "python":
    from . import _fanout_py as _core  # type: ignore[no-redef]

if TYPE_CHECKING:
    from ._fanout import *
else:
    globals().update({name: getattr(_core, name) for name in __all__ if name not in globals()})
