"""Names of a package that are loaded when somebody asks for them (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def late(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The package's `__getattr__`. places: name → module and name in the package, "server.Server".

    PERF: a page waits for no file that it does not need (benchmarks/observe/traces.py).
    """

    def found(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, its_name = places[name].rpartition(".")
        return getattr(import_module(f".{module}", package), its_name)

    return found
