"""A real Prometheus stores any label value and any number, from both formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from forge_min.observe import MetricRegistry, scrape
from forge_min.wsgi import Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

pytestmark = pytest.mark.slow

VALUES = [
    "", " ", "a b", 'q"', "\\", "\\n", "\n", "\r\n", "\t", "\0", "a\0b", "\x7f", "\x1b[0m",
    "\u2028", "\ufeff", "🛫", "é" * 300, "# EOF", '{x="y"} 3 # {a="b"} 1', 'a,b="c"', "\\\"\n'",
]  # fmt: skip
NUMBERS = {
    "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "least": 5e-324, "most": 1.7e308,
    "-0": -0.0, "third": 1 / 3, "whole": 1e15, "exact": 2.0**53,
}  # fmt: skip


@pytest.fixture
def port() -> Iterator[int]:
    """Where a registry with all of them is scraped."""
    registry = MetricRegistry()
    texts = {(text,): index for index, text in enumerate(VALUES)}
    help = 'Help with "quotes", a \\, a\nnew line and 🛫.'
    registry.gauge("texts", help, ("value",), callback=lambda: texts)
    numbers = {(name,): number for name, number in NUMBERS.items()}
    registry.gauge("numbers", "", ("name",), callback=lambda: numbers)

    def app(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        kind, body = scrape(registry, environ.get("HTTP_ACCEPT", ""))
        start("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    server = Server(("127.0.0.1", 0), app, threads=2)
    server.start()
    yield server.server_port
    server.stop()


@pytest.mark.thorough
def test_every_text_and_every_number_is_stored_as_it_is(
    port: int, prometheus_of: Callable[..., Any]
) -> None:
    prometheus = prometheus_of(port)
    for target in prometheus.ask("targets")["activeTargets"]:
        assert (target["health"], target["lastError"]) == ("up", "")
    for job in ("openmetrics", "text"):
        rows = prometheus.ask("query", query=f'texts{{job="{job}"}}')["result"]
        found = {row["metric"].get("value", ""): float(row["value"][1]) for row in rows}
        assert found == {text: index for index, text in enumerate(VALUES)}
        rows = prometheus.ask("query", query=f'numbers{{job="{job}"}}')["result"]
        stored = {row["metric"]["name"]: float(row["value"][1]) for row in rows}
        assert math.isnan(stored["nan"])
        assert stored | {"nan": 0} == NUMBERS | {"nan": 0}
    told = prometheus.ask("metadata", metric="texts")["texts"]
    assert {row["help"] for row in told} == {'Help with "quotes", a \\, a\nnew line and 🛫.'}
