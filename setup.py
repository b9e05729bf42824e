"""The compiled core's build. Everything else about the package is in pyproject.toml.

FORGE_PURE=1 builds no extension (a py3-none-any wheel). FORGE_ABI3=1 builds one for every CPython
from 3.11 on (PEP 384), which is a little slower than one for the Python that builds it.
FORGE_REQUIRE_EXT=1 turns a missing Cython or compiler into an error; without it the wheel is then
simply built without the core, and the Python twin runs.
"""

from __future__ import annotations

import os
import sys

from setuptools import Extension, setup

PURE, STABLE, REQUIRED = (
    os.environ.get(name, "") not in ("", "0")
    for name in ("FORGE_PURE", "FORGE_ABI3", "FORGE_REQUIRE_EXT")
)
_LIMITED = [("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")]


def extensions() -> list[Extension]:
    """The extension modules to build: one or none."""
    if PURE:
        return []
    if not sys.platform.startswith("linux"):  # epoll and eventfd
        if REQUIRED:
            raise SystemExit("FORGE_REQUIRE_EXT=1: the compiled core exists for Linux only")
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if REQUIRED:
            raise
        return []
    core = Extension(
        "forge_min._fanout",
        ["forge_min/_fanout.pyx"],
        extra_compile_args=["-O2", "-g0", "-pthread"],
        extra_link_args=["-pthread"],
        define_macros=_LIMITED if STABLE else [],
        py_limited_api=STABLE,
    )
    # The C file goes below build/, which neither sdist nor wheel takes in.
    built: list[Extension] = cythonize([core], build_dir="build/cython")
    for extension in built:
        # cythonize() drops what was given as Extension(optional=...): set it on the result.
        extension.optional = not REQUIRED
    return built


setup(
    ext_modules=extensions(),
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE and not PURE else {},
)
