"""The documentation tells the truth: what the package has is in it, and what it shows works."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from forge_min.app import App
from forge_min.app.telemetry import Metrics
from forge_min.auth import Identity
from forge_min.cli import new_parser
from forge_min.errors import FieldError, ForgeError, Invalid
from forge_min.jobs import Job
from forge_min.notify import Event, publish_tx
from forge_min.observe import MetricRegistry
from forge_min.wsgi import Request, Response

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_reference_of_keys_and_codes_is_what_the_tables_say() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "reference.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"run python docs/reference.py: {done.stdout}{done.stderr}"


def test_every_command_is_documented() -> None:
    (commands,) = [a for a in new_parser()._actions if hasattr(a, "choices") and a.choices]
    documented = text("reference/commands.md")
    missing = [name for name in commands.choices if f"`{name}" not in documented]
    assert not missing


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    package = ROOT / "forge_min"
    table = tomllib.loads((package / "app" / "metrics.toml").read_text(encoding="utf-8"))
    told = {
        (name, kind, tuple(row.get("labels", ())))
        for kind, rows in table.items()
        for name, row in rows.items()
    }
    families = Metrics(MetricRegistry(), {}).registry.collect()
    of_registry = {(f.name, f.kind, f.label_names) for f in families}
    ours = {row for row in told | of_registry if row[0].startswith("forge_")}
    rows = re.findall(
        r"^\| `(forge_\w+)(?:\{([\w,]+)\})?` \| (\w+); ", text("reference/metrics.md"), re.M
    )
    documented = {(name, kind, tuple(filter(None, of.split(",")))) for name, of, kind in rows}
    assert documented == ours
    of_process = {family.name for family in families} - {name for name, _, _ in ours}
    assert all(name.startswith(("process_", "python_gc_")) for name in of_process)


@pytest.mark.parametrize(
    "documented",
    [App, Request, Response, ForgeError, Invalid, FieldError, Event, publish_tx, Job, Identity],
    ids=lambda documented: documented.__name__,
)
def test_every_member_and_parameter_of_python_classes_is_documented(documented: Any) -> None:
    page = text("reference/python.md")
    names = {*inspect.signature(documented).parameters} - {"about", "environ"}
    if documented in (App, Request, Response, Job):
        names |= {name for name, member in vars(documented).items() if not name.startswith("_")}
    if documented is App:
        for _, member in inspect.getmembers(App, inspect.isfunction):
            names |= {*inspect.signature(member).parameters} - {"self", "function"}
    names -= {"read_path"}  # for the application only
    names -= {"connect", "unreadable", "failures", "completed", "committed", "span"}  # for workers
    missing = [n for n in names if not re.search(rf"`[^`]*\b{n}\b[^`]*`", page)]
    assert missing == []


def test_every_alert_is_documented() -> None:
    shipped = ROOT / "forge_min" / "observe" / "monitoring" / "alerts.yml"
    alerts = re.findall(r"- alert: (\w+)", shipped.read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `(Forge\w+)` \|", text("operate/monitoring.md"), re.M)
    assert alerts == rows and len(alerts) >= 10


def test_every_code_is_explained() -> None:
    codes = tomllib.loads((ROOT / "forge_min" / "codes.toml").read_text(encoding="utf-8"))
    assert all(entry["title"] and entry["text"] for entry in codes.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_rooms_and_threads_of_the_architecture_exist() -> None:
    architecture = text("understand/architecture.md")
    for name in re.findall(r"^\| `([a-z_]+)/`", architecture, re.M):
        assert (ROOT / "forge_min" / name).is_dir(), name
    source = "".join(
        p.read_text() for p in (ROOT / "forge_min").rglob("*.py*") if p.suffix != ".pyc"
    )
    table = architecture.split("## Threads")[1].split("##")[0]
    for name in re.findall(r"`([a-z]+(?:-[a-zN]+)?)`", table):
        if "." not in name and not name.startswith("start") and name != "stop":
            assert name.replace("-N", "") in source, name


def test_every_thread_of_the_package_is_in_the_architecture() -> None:
    architecture = text("understand/architecture.md")
    for path in (ROOT / "forge_min").rglob("*.py"):
        for name in re.findall(r"name=f?\"([a-z]+(?:-[a-z]+)*)-?\{?", path.read_text()):
            if "Thread(" in path.read_text():
                assert name in architecture, (path, name)


@pytest.mark.parametrize("page", ["threat-model", "compare"])
def test_every_promise_names_a_test_that_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", text(f"understand/{page}.md")))
    source = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 5
    assert {name for name in named if f"def {name}(" not in source} == set()
