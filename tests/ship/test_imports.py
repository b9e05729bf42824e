"""What a project imports, against what its artifact holds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min.errors import ErrorGroup
from forge_min.ship.artifact.imports import check_imports

from building import build

PACKAGE = {"forge_min/app/__init__.py": b"", "forge_min/testing/__init__.py": b""}
HELD = {
    "__main__.py": b"",
    "forge_min/app/__init__.py": b"",
    "typing_extensions.py": b"",
    "_native/psycopg_binary/__init__.py": b"",
    "opentelemetry/trace/__init__.py": b"",
}


def check(**files: str) -> None:
    """Of a project with these modules, named `a__b` for a/b.py."""
    own = {f"{name.replace('__', '/')}.py": text.encode() for name, text in files.items()}
    check_imports(own, PACKAGE, HELD | own)


@contextmanager
def refused(message: str) -> Iterator[None]:
    """The block raises one error with this message."""
    with pytest.raises(ErrorGroup) as caught:
        yield
    (error,) = caught.value.errors
    assert re.search(message, str(error)) and error.code == "F352"


@pytest.mark.parametrize(
    "text",
    [
        "import os.path, json as j",
        "from __future__ import annotations",
        "from forge_min.app import App, anything",
        "import forge_min",
        "import typing_extensions, psycopg_binary, opentelemetry.trace",
        "import helpers; from helpers import *",
        "from gen import registry",
        "try:\n    import yaml\nexcept ImportError:\n    import ruamel",
        "try:\n    import yaml\nexcept (OSError, ImportError):\n    x = 1\nelse:\n    import b",
        "try:\n    import yaml\nexcept:\n    pass",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import yaml",
        "def f():\n    import yaml",
        "class A:\n    def f(self):\n        import yaml",
    ],
)
def test_what_the_artifact_holds_or_what_may_fail_is_imported(text: str) -> None:
    check(app=text, helpers="", gen__registry="")


@pytest.mark.parametrize(
    "text",
    [
        "import yaml",
        "import json, yaml.nodes as n",
        "from yaml import load",
        "from yaml.nodes import Node",
        "class A:\n    import yaml",
        "try:\n    import yaml\nexcept ValueError:\n    pass",
        "try:\n    pass\nexcept ImportError:\n    pass\nfinally:\n    import yaml",
    ],
)
def test_what_nothing_holds_stops_the_build(text: str) -> None:
    with refused(r"app\.py:\d: imports yaml,"):
        check(app=text)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("import tools.paint", "tools/paint.py"),
        ("from tools import paint", "tools/paint.py"),
        ("from tools.paint import x", "tools/paint.py"),
        ("import tools", "tools/__init__.py"),
        ("import deep.one", "deep/three.py"),
        ("import gen.registry", "gen/registry.py"),
    ],
)
def test_imports_are_followed_through_the_project(text: str, file: str) -> None:
    modules = {"tools/__init__.py": b"", "tools/paint.py": b"", "gen/registry.py": b""}
    modules |= {"deep/one.py": b"from .two import x", "deep/two.py": b"from . import three"}
    own = {**modules, "deep/three.py": b"", "app.py": text.encode(), file: b"\nimport yaml"}
    with refused(f"{file}:2: imports yaml"):
        check_imports(own, PACKAGE, HELD | own)


def test_all_that_nothing_holds_is_told_of_at_once() -> None:
    with pytest.raises(ErrorGroup) as caught:
        check(app="import yaml, humble\nimport yaml.nodes\nfrom forge_min.testing import x")
    told = [str(error).partition(",")[0] for error in caught.value.errors]
    assert told == [
        "app.py:1: imports yaml",
        "app.py:1: imports humble",
        "app.py:3: imports forge_min.testing",
    ]
    assert {error.code for error in caught.value.errors} == {"F352"}
    assert "pip install" in (caught.value.errors[0].hint or "")


def test_a_module_that_nothing_imports_may_import_anything() -> None:
    check(app="", resources__item__factory="import pytest", tool="import yaml")


@pytest.mark.parametrize(
    "text",
    [
        "import forge_min.testing",
        "from forge_min import testing",
        "from forge_min.testing import x",
    ],
)
def test_a_part_of_forge_min_that_no_artifact_holds_stops_the_build(text: str) -> None:
    with refused(r"imports forge_min\.testing"):
        check(app=text)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_package_beside_the_application_goes_along(project: Path) -> None:
    app = (project / "app.py").read_text()
    (project / "app.py").write_text(f"import humble\n{app}")
    with refused(r"app\.py:1: imports humble"):
        build(project)
    (project / "humble").mkdir()
    (project / "humble" / "__init__.py").write_text("from .inner import x\n")
    (project / "humble" / "inner.py").write_text("x = 1\n")
    path = build(project).path
    command = [sys.executable, "-I", "-S", path, "doctor"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "  ok       D105" in told
