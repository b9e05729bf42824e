"""Prometheus's own checker on what we expose, and on the files that are shipped for it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forge_min
import pytest
from forge_min.app.telemetry import Metrics
from forge_min.observe import MetricRegistry, render_metrics
from forge_min.observe.metrics.registry import _SUFFIXES, base_name

PACKAGE = Path(forge_min.__file__).parent
SHIPPED = PACKAGE / "observe" / "monitoring"
TABLE = tomllib.loads((PACKAGE / "app" / "metrics.toml").read_text("utf-8"))
DASHBOARD = json.loads((SHIPPED / "dashboard.json").read_text("utf-8"))
OF_PROMETHEUS = {"up"}

Promtool = Callable[..., subprocess.CompletedProcess[str]]


def series() -> dict[str, set[str]]:
    """Every series that a site can have, with its labels: the registry's, and those watched."""
    found: dict[str, set[str]] = {}
    families = [
        (f.name, f.kind, f.label_names) for f in Metrics(MetricRegistry(), {}).registry.collect()
    ]
    for kind in ("counter", "gauge"):
        families += [(n, kind, row.get("labels", ())) for n, row in TABLE[kind].items()]
    for name, kind, labels in families:
        suffixes = _SUFFIXES[kind] if kind == "histogram" else [name[len(base_name(name, kind)) :]]
        for suffix in suffixes:
            more = {"le"} if suffix == "_bucket" else set()
            found[base_name(name, kind) + suffix] = {*labels, *more}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel and every alert."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    text = (SHIPPED / "alerts.yml").read_text("utf-8")
    for name, rest in re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - alert|\Z)", text, re.S):
        block = re.search(r"expr: (\|\n((?: {10,}.*\n)+)|.*)", rest)
        assert block, name
        yield f"alert {name}", (block[2] or block[1]).strip()


EXPRESSIONS = list(expressions())


def test_the_checker_finds_nothing_in_what_a_site_exposes(promtool: Promtool) -> None:
    metrics = Metrics(MetricRegistry(), {"version": '1"\\\n🛫'})
    metrics.request_done("GET", '/a"b\\c\nd🛫', 200, 0.1)
    metrics.request_done("GET", "/x", 200, float("inf"))
    metrics.query_done("select", 0.01)
    metrics.jobs_inserted("A", "default", 2)
    metrics.watch("forge_http_requests_in_flight", lambda: float("nan"))
    metrics.watch("forge_ready", lambda: 1.0)
    metrics.watch("forge_http_connections", lambda: 3)
    metrics.watch("forge_http_connections_limit", lambda: 2000)
    metrics.watch("forge_jobs", lambda: {("default", "available"): float("-inf")})
    done = promtool("check", "metrics", given=render_metrics(metrics.registry))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_checker_checks(promtool: Promtool) -> None:
    registry = MetricRegistry()
    registry.counter("no_suffix", "").labels().inc()
    done = promtool("check", "metrics", given=render_metrics(registry))
    assert done.returncode != 0 and '"_total" suffix' in done.stdout + done.stderr


def test_the_alerts_are_rules(promtool: Promtool) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(SHIPPED / "alerts.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = [where for where, _ in EXPRESSIONS if where.startswith("alert ")]
    assert f"SUCCESS: {len(alerts)} rules found" in done.stdout and len(alerts) >= 10


def test_the_alerts_fire_when_they_should_and_only_then(promtool: Promtool) -> None:
    done = promtool("test", "rules", str(Path(__file__).parent / "alerts_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_asks_what_prometheus_understands(promtool: Promtool, tmp_path: Path) -> None:
    lines = ["groups: [{name: panels, rules: ["]
    for number, (_, expression) in enumerate(EXPRESSIONS):
        plain = expression.replace("$__rate_interval", "5m").replace("$", "")
        lines.append(f"{{record: 'x:{number}', expr: {json.dumps(plain)}}},")
    (tmp_path / "panels.yml").write_text("\n".join([*lines, "]}]"]))
    done = promtool("check", "rules", "--lint=none", str(tmp_path / "panels.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(EXPRESSIONS)} rules found" in done.stdout


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[w for w, _ in EXPRESSIONS])
def test_panels_and_alerts_name_only_series_and_labels_that_exist(
    where: str, expression: str
) -> None:
    known = series()
    plain = re.sub(r'"[^"]*"', '""', expression)
    named = set(re.findall(r"\b([a-z][a-z0-9]*_[a-z0-9_]+|up)\b(?!\()", plain))
    labels = set(re.findall(r"(\w+)\s*=?[=~!]", "".join(re.findall(r"\{[^}]*\}", plain))))
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", plain)
    labels |= {name.strip() for group in grouped for name in group.split(",")}
    assert named - labels - {"__rate_interval"} <= known.keys() | OF_PROMETHEUS
    assert named & (known.keys() | OF_PROMETHEUS), "it names no series"
    may = {"job", "instance"}.union(*(known.get(name, set()) for name in named))
    assert labels <= may


def test_every_series_of_ours_is_on_the_dashboard() -> None:
    shown = " ".join(expression for where, expression in EXPRESSIONS if where.startswith("panel"))
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in series()}
    missing = {n for n in families if n.startswith("forge_") and n not in shown}
    lost = {"forge_log_dropped_total", "forge_spans_dropped_total"}
    assert missing == {"forge_metrics_overflow_total"} | lost, "these have alerts"


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    panels = DASHBOARD["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids) and DASHBOARD["uid"] and DASHBOARD["schemaVersion"] >= 36
    variables = {v["name"] for v in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) - {"__rate_interval"}
    assert used == variables
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place: Any = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


def test_who_only_works_jobs_tells_of_no_requests_and_no_streams() -> None:
    """docs/reference/metrics.md says so."""
    body = render_metrics(Metrics(MetricRegistry(), {}).registry).decode()
    assert not re.findall(r"^forge_(?:http|sse|notify)_.*", body, re.M)
