"""The house holds: ladders, imports, sizes, docstrings. Each rule sees a planted breach."""

from __future__ import annotations

import ast
import io
import re
import shutil
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import forge_min
import pytest
from forge_min.ship.artifact.package import CARRIED

PACKAGE = Path(forge_min.__file__).parent
REPOSITORY = PACKAGE.parent

# Rank by room; an import goes to a lower rank of the same ladder, or to the ground.
GROUND = {
    "__init__": 0,
    "errors": 1,
    "text": 2,
    "data": 1,
    "expression": 1,
    "late": 1,
    "_fanout": 2,
    "_fanout_py": 2,
    "config": 3,
    "manifest": 3,
    "fanout": 3,
}
RUN_ORDER = (
    "observe",
    "db",
    "notify auth",
    "jobs sse",
    "actions",
    "wsgi",
    "admin",
    "app",
    "ops doctor",
    "entry",
)
MAKE_ORDER = ("schema", "parse", "pages", "generate migrations", "ship")
TOP_ORDER = ("testing", "dev", "commands", "cli", "__main__")
CONFIG_READERS = {"app", "ops", "entry", "ship", *TOP_ORDER}


def _ranks(order: tuple[str, ...]) -> dict[str, int]:
    return {room: rank for rank, rooms in enumerate(order, 10) for room in rooms.split()}


RUN, MAKE, TOP = _ranks(RUN_ORDER), _ranks(MAKE_ORDER), _ranks(TOP_ORDER)

# file → why its functions import, or load a module by its name. commands/ and entry may anyway.
LAZY = {
    "app/running.py": "the page /jobs is for who asks the admin server; a page would wait for it",
    "config/load.py": "difflib is for mistakes; a process without any need not hold it",
    "config/table.py": "ipaddress is for sites with proxies; /healthz would wait for it",
    "config/values.py": "tomllib is for lists and tables; /healthz would wait for it",
    "data.py": "tomllib and importlib.metadata, which no start waits for",
    "doctor/finding.py": "the masks need the core, and that it is missing is a finding",
    "ops/door.py": "traceback and the masks are for defects; /healthz would wait for them",
    "ops/health.py": "the admin server's parts are for who asks it; a page would wait for them",
    "ops/project.py": "serve binds its ports before app, or development, loads psycopg",
    "ship/artifact/boot.py": "shutil and tempfile are for an artifact's first start",
    "ops/serve.py": "one process needs nothing of several; admin.enabled may be false",
}
BY_NAME = {
    "late.py": "parts of a package; a page would wait for them",
    "observe/__init__.py": "setup loads the SDK, 40 ms that only a sampling process should pay",
    "observe/otlp/choice.py": "the official exporter, where somebody has installed it",
    "ops/project.py": "the user's code: gen.registry and app",
    "testing/factory.py": "gen.<resource>.factory, which nothing else imports",
    "ship/artifact/boot.py": "it is the artifact's __main__: outside the package, when it runs",
}

BUDGETS = {
    "errors": 108, "config": 517, "manifest": 119, "data": 90, "expression": 14, "late": 11,
    "_fanout _fanout_py fanout": 2365,
    "observe": 3177, "db": 1678, "notify": 969, "auth": 640, "jobs": 2290, "sse": 92,
    "actions": 2013, "wsgi": 5718, "admin": 1228, "app": 900, "ops": 1814, "entry": 228,
    "doctor": 1106, "schema": 212, "parse": 1074, "pages": 479, "generate": 1022,
    "migrations": 900, "ship": 2669, " ".join(TOP_ORDER): 2058,
}  # fmt: skip
ALLOWANCES = {"issue 26, trust": 900}  # lines of code, beside the reason
WHOLE_PACKAGE = 33_161 + sum(ALLOWANCES.values())
LONGEST_FILE, LONGEST_TWIN = 500, 1_302
MODULES_IN_A_FOLDER = 15


# -- what is looked at -----------------------------------------------------------------------------


def sources(package: Path) -> Iterator[tuple[str, Path]]:
    """Every module as ("db/connection.py", path)."""
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), path


def sources_of_all(package: Path) -> list[Path]:
    """Python and Cython."""
    return sorted(p for p in package.rglob("*.p*") if p.suffix in (".py", ".pyx", ".pxi"))


def room_of(name: str) -> str:
    room = name.partition("/")[0].partition(".")[0]
    return (
        "_fanout"
        if room in ("_fanout_cells", "_fanout_net", "_fanout_send", "_fanout_text")
        else room
    )


def parsed(path: Path) -> ast.Module:
    return _parsed(path.read_text("utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def imported_rooms(name: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of the package by itself, also those inside functions."""
    depth = name.count("/")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.lineno, _room_name(n)) for n in names)


def _room_name(name: str) -> str:
    return "__init__" if name == "__version__" else name.partition(".")[0]


def code_lines(path: Path) -> int:
    """Lines that hold code: no blanks, comments and docstrings. Works on .pyx too."""
    return _code_lines(path.read_bytes())


@cache
def _code_lines(text: bytes) -> int:
    lines: set[int] = set()
    new_statement = True
    layout = {
        tokenize.NL,
        tokenize.COMMENT,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
    for token in tokenize.tokenize(io.BytesIO(text).readline):
        if token.type == tokenize.NEWLINE:
            new_statement = True
        elif token.type not in layout:
            docstring = new_statement and token.type == tokenize.STRING
            lines.update(() if docstring else range(token.start[0], token.end[0] + 1))
            new_statement = False
    return len(lines)


# -- the rules: each gives its breaches as sentences -----------------------------------------------


def ladders(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        room = room_of(name)
        if room not in GROUND | RUN | MAKE | TOP:
            breaches.append(f"{name}: the house has no room {room!r}")
            continue
        for line, target in imported_rooms(name, parsed(path)):
            if target != room and not goes_down(room, target):
                breaches.append(f"{name}:{line}: {room} must not import {target}")
    return breaches


def goes_down(room: str, target: str) -> bool:
    if room in GROUND:
        return GROUND.get(target, 99) < GROUND[room]
    if target in GROUND:
        return True
    if room in TOP:
        return target in RUN or target in MAKE or TOP.get(target, 99) < TOP[room]
    ladder = RUN if room in RUN else MAKE
    return ladder.get(target, 99) < ladder[room]


def config_is_for_few(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        for line, target in imported_rooms(name, parsed(path)):
            if target == "config" and room_of(name) not in CONFIG_READERS:
                breaches.append(
                    f"{name}:{line}: only {', '.join(sorted(CONFIG_READERS))} read config"
                )
            if room_of(name) == "config" and target not in ("errors", "data"):
                breaches.append(f"{name}:{line}: config imports errors and data only")
    return breaches


def imports_are_relative(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        for node in ast.walk(parsed(path)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            if any(m.partition(".")[0] == "forge_min" for m in modules):
                breaches.append(f"{name}:{node.lineno}: imports forge_min by its name")
    return breaches


def imports_stand_at_the_top(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        if room_of(name) in ("commands", "entry") or name in LAZY:
            continue
        for function in ast.walk(parsed(path)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                found = [
                    n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)
                ]
                breaches += [f"{name}:{n.lineno}: an import inside a function" for n in found]
    return sorted(set(breaches))


def modules_are_not_loaded_by_name(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        if name in BY_NAME:
            continue
        for node in ast.walk(parsed(path)):
            called = node.func if isinstance(node, ast.Call) else None
            word = getattr(called, "attr", getattr(called, "id", ""))
            if word in ("import_module", "__import__", "run_module", "run_path"):
                breaches.append(f"{name}:{node.lineno}: calls {word}")  # type: ignore[attr-defined]
    return breaches


def files_are_short(package: Path) -> list[str]:
    breaches = []
    for path in sources_of_all(package):
        limit = LONGEST_TWIN if path.stem in ("_fanout", "_fanout_py") else LONGEST_FILE
        count = len(path.read_text("utf-8").splitlines())
        if count > limit:
            breaches.append(f"{path.relative_to(package)}: {count} lines, {limit} at most")
    return breaches


def folders_are_small(package: Path) -> list[str]:
    breaches = []
    for folder in sorted({path.parent for path in package.rglob("*.py")} - {package}):
        name = folder.relative_to(package)
        modules = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        if len(modules) > MODULES_IN_A_FOLDER:
            breaches.append(f"{name}: {len(modules)} modules, {MODULES_IN_A_FOLDER} at most")
        if len(name.parts) > 2:
            breaches.append(f"{name}: more than one level of subfolders")
    return breaches


def lines_by_room(package: Path) -> dict[str, int]:
    count: dict[str, int] = {}
    for path in sources_of_all(package):
        if path.with_suffix(".html").is_file():
            continue  # compiled from that page
        room = room_of(path.relative_to(package).as_posix())
        count[room] = count.get(room, 0) + code_lines(path)
    return count


def rooms_keep_their_budget(package: Path) -> list[str]:
    count = lines_by_room(package)
    breaches = []
    for rooms, budget in BUDGETS.items():
        used = sum(count.get(room, 0) for room in rooms.split())
        if used > budget:
            breaches.append(f"{rooms}: {used} lines of code, {budget} at most")
    if sum(count.values()) > WHOLE_PACKAGE:
        breaches.append(
            f"the package: {sum(count.values())} lines of code, {WHOLE_PACKAGE} at most"
        )
    return breaches


def everything_public_is_described(package: Path) -> list[str]:
    breaches = []
    for name, path in sources(package):
        tree = parsed(path)
        if not ast.get_docstring(tree):
            breaches.append(f"{name}: no docstring says what the module is")
        for line, public in undescribed(tree, ""):
            breaches.append(f"{name}:{line}: {public} has no docstring")
    return breaches


def undescribed(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[int, str]]:
    for node in parent.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        decorators = {ast.unparse(d) for d in node.decorator_list}
        if (
            node.name.startswith("_")
            or "overload" in decorators
            or f"{node.name}.setter" in decorators
        ):
            continue
        if not ast.get_docstring(node):
            yield node.lineno, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undescribed(node, f"{prefix}{node.name}.")


def rooms_say_what_is_public(package: Path) -> list[str]:
    breaches = []
    for folder in sorted({path.parent for path in package.rglob("*.py")} - {package}):
        init = folder / "__init__.py"
        if not init.is_file() or "__all__" not in assigned(parsed(init)):
            breaches.append(f"{folder.relative_to(package)}: no __init__.py with __all__")
    return breaches


def assigned(tree: ast.Module) -> set[str]:
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    targets += [n.target for n in tree.body if isinstance(n, ast.AnnAssign)]
    return {t.id for t in targets if isinstance(t, ast.Name)}


def names_no_other_machine(folder: Path) -> list[str]:
    words = ["/" + "work/", "farm" + "-", "." + "library"]
    breaches = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(_is_made(part) for part in parts):
            text = path.read_bytes().decode("utf-8", "replace")
            breaches += [f"{path.relative_to(folder)}: names {w}" for w in words if w in text]
    return breaches


def _is_made(part: str) -> bool:
    hidden = part.startswith(".") and part not in (".ci", ".gitignore", ".dockerignore")
    return hidden or part in ("__pycache__", "build", "dist") or part.endswith((".egg-info", ".so"))


# rule → breaches to plant: each a few files, path → text
RULES: dict[Callable[[Path], list[str]], list[dict[str, str]]] = {
    ladders: [
        {"db/planted.py": "from ..wsgi import Server\n"},
        {"errors.py": "from .manifest import Manifest\n"},
        {"entry.py": "def main():\n    from .ship import build\n"},
        {"notify/planted.py": "from ..auth import identity\n"},
        {"parse/planted.py": "from ..db import connect\n"},
        {"db/embedded/planted.py": "from ...jobs import Worker\n"},
        {"attic/planted.py": ""},
    ],
    config_is_for_few: [
        {"jobs/planted.py": "from ..config import load\n"},
        {"config/planted.py": "from ..manifest import Manifest\n"},
    ],
    imports_are_relative: [
        {"db/planted.py": "from forge_min.errors import ForgeError\n"},
        {"sse/planted.py": "import forge_min.errors\n"},
    ],
    imports_stand_at_the_top: [{"db/planted.py": "def f():\n    import json\n    return json\n"}],
    modules_are_not_loaded_by_name: [
        {"db/planted.py": 'import importlib\nx = importlib.import_module("json")\n'},
        {"jobs/planted.py": 'x = __import__("json")\n'},
    ],
    files_are_short: [
        {"db/planted.py": "x = 1\n" * (LONGEST_FILE + 1)},
        {"_fanout.pyx": "x = 1\n" * (LONGEST_TWIN + 1)},
    ],
    folders_are_small: [
        {f"sse/planted{n}.py": "" for n in range(MODULES_IN_A_FOLDER + 1)},
        {"sse/one/two/planted.py": ""},
    ],
    rooms_keep_their_budget: [
        {"sse/planted.py": "x = 1\n" * 251},
        {f"auth/planted{n}.py": "x = 1\n" * 400 for n in range(42)},
    ],
    everything_public_is_described: [
        {"db/planted.py": "x = 1\n"},
        {"sse/planted.py": '"""A room."""\nclass Seen:\n    """It."""\n    def look(self): ...\n'},
    ],
    rooms_say_what_is_public: [
        {"sse/__init__.py": '"""The room."""\n'},
        {"jobs/planted/x.py": ""},
    ],
    names_no_other_machine: [{"db/planted.py": "# see /" + "work/shared\n"}],
}
BREACHES = [(rule, planted) for rule, breaches in RULES.items() for planted in breaches]


@pytest.mark.parametrize(
    "rule", [r for r in RULES if r is not names_no_other_machine], ids=lambda r: r.__name__
)
def test_the_package_keeps_the_rule(rule: Callable[[Path], list[str]]) -> None:
    assert rule(PACKAGE) == []


def test_no_file_of_the_project_names_the_machines_that_made_it() -> None:
    assert names_no_other_machine(REPOSITORY) == []


@pytest.mark.parametrize(
    ("rule", "planted"), BREACHES, ids=[f"{r.__name__}-{min(p)}" for r, p in BREACHES]
)
def test_the_rule_sees_a_planted_breach(
    rule: Callable[[Path], list[str]], planted: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "forge_min"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    before = set(rule(copy))
    for name, text in planted.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    assert set(rule(copy)) - before


def test_an_artifact_carries_the_ground_and_the_run_ladder() -> None:
    assert (GROUND.keys() | RUN.keys()) - {"_fanout"} == CARRIED


def test_the_readme_says_how_much_there_is_to_read() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    said = re.search(r"about (\d+),000 lines", readme)
    assert said and abs(int(said[1]) * 1000 - sum(lines_by_room(PACKAGE).values())) <= 1000
