"""Builds the compiled core and compiles the HTML templates; pyproject.toml holds the rest.

`python setup.py compile_pages` compiles only the templates, into the folder that they are in.

FORGE_PURE=1 builds no extension (a py3-none-any wheel). FORGE_ABI3=1 builds one for every CPython
from 3.11 on (PEP 384), which is a little slower than one for the Python that builds it.
FORGE_REQUIRE_EXT=1 turns a missing Cython or compiler into an error; without it the wheel is then
simply built without the core, and the Python twin runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Command, Extension, setup
from setuptools.command.build_py import build_py

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


class CompilePages(Command):
    """Write a Python module beside each HTML template of the library, if it changed."""

    description = "compile the HTML templates to Python"
    user_options: list[tuple[str, str | None, str]] = []

    def initialize_options(self) -> None:
        """No options."""

    def finalize_options(self) -> None:
        """No options."""

    def run(self) -> None:
        """Needs the standard library only: a build environment has no other package."""
        root = Path(__file__).resolve().parent
        sys.path.insert(0, str(root))  # a build backend does not look into the source tree
        from forge_min.pages import compile_library_pages

        for name, text in compile_library_pages().items():
            path = root / "forge_min" / name
            if not path.is_file() or path.read_text("utf-8") != text:
                path.write_text(text, "utf-8")


class BuildPython(build_py):
    """Copy the modules after the templates are compiled."""

    def run(self) -> None:
        """Also runs for an editable install, whose templates stay in the source tree.

        `make dist` has rendered the manual; an installation of a checkout gets its Markdown.
        """
        self.run_command("compile_pages")
        super().run()
        if not self.editable_mode and not Path("forge_min", "_manual", "index.html").is_file():
            for page in Path("docs").rglob("*.md"):
                copy = Path(self.build_lib, "forge_min", "_manual", page.relative_to("docs"))
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(page.read_bytes())


setup(
    cmdclass={"build_py": BuildPython, "compile_pages": CompilePages},
    ext_modules=extensions(),
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE and not PURE else {},
)
