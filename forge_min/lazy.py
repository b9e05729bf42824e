"""Names of a package, and regular expressions, that are loaded at their first use."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, AnyStr, cast

from ._compat import renamed


def lazy_exports(package: str, names: Mapping[str, Collection[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package (PEP 562). names: by module, as "metrics.meter".

    PERF: a page waits for no file that it does not need (benchmarks/observe/traces.py).
    """
    modules = {name: module for module in names for name in names[module]}

    def load(name: str) -> Any:
        if name not in modules:
            return getattr(sys.modules[package], renamed(package, name))
        return getattr(import_module(f".{modules[name]}", package), name)

    return load


class _LazyPattern:
    """An uncompiled pattern. Two threads that use it first at once compile it twice: no harm."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask before __init__
            raise AttributeError(name)
        method = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, method)  # from now on a method costs as much as the pattern's own
        return method


def lazy_pattern(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return `re.compile(source, flags)`, compiled at the first use. That raises re.error.

    PERF: a serving process has 130 patterns and its first page needs a dozen; compiling all takes
    25 ms of the start (benchmarks/build.py).
    """
    return cast("re.Pattern[AnyStr]", _LazyPattern(source, flags))
