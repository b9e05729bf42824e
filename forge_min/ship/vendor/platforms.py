"""Platforms: what an index calls them, and which wheels fit the one that this Python runs on."""

from __future__ import annotations

import platform
import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES

from .wheel import Wheel

# glibc 2.28 is of 2018: what is built for it, or for an older one, runs on any system in support.
_LEVELS = {
    "manylinux": [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014"],
    "musllinux": ["musllinux_1_2", "musllinux_1_1"],
}
_MINOR = sys.version_info.minor


def is_musl() -> bool:
    """Whether this Python runs on musl."""
    return "musl" in EXTENSION_SUFFIXES[0]


def here() -> tuple[str, ...]:
    """This machine with either library: where the wheels are used is seldom where they are got."""
    return tuple(f"{libc}_{platform.machine()}" for libc in _LEVELS)


def pip_options(name: str) -> list[str]:
    """What pip is told, to get wheels of a platform for this version of CPython."""
    libc, _, machine = name.partition("_")
    options = ["--implementation", "cp", "--python-version", f"3.{_MINOR}"]
    for abi in (f"cp3{_MINOR}", "abi3", "none"):
        options += ["--abi", abi]
    for level in _LEVELS[libc]:
        options += ["--platform", f"{level}_{machine}"]
    return options


def compiled_tag(file: str, data: bytes) -> str:
    """The tag of a wheel with this compiled module, which was made here."""
    python = "cp311-abi3" if ".abi3." in file else f"cp3{_MINOR}-cp3{_MINOR}"
    if is_musl():
        return f"{python}-musllinux_1_2_{platform.machine()}"
    # The names of its versioned symbols tell the oldest glibc that has them all (PEP 600).
    level = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", data)), default=17)
    return f"{python}-manylinux_2_{level}_{platform.machine()}"


def fits(wheel: Wheel) -> bool:
    """Whether this Python can load it. The level of the C library is pip's to compare."""
    _, _, *tags = wheel.parts
    pythons, abis, platforms = (tag.split(".") for tag in tags)
    native = f"cp3{_MINOR}"
    stable = {f"cp3{minor}" for minor in range(2, _MINOR + 1)} if "abi3" in abis else set()
    by_python = not {"py3", f"py3{_MINOR}", native, *stable}.isdisjoint(pythons)
    by_abi = not {"none", "abi3", native}.isdisjoint(abis)
    libc = "musllinux" if is_musl() else "manylinux"
    ours = re.compile(rf"any|({libc}\w*|linux)_{re.escape(platform.machine())}")
    return by_python and by_abi and any(ours.fullmatch(name) for name in platforms)
