"""Which text format a scrape gets: what its Accept likes best (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...expression import expression
from .openmetrics import OPENMETRICS_TYPE, render_openmetrics
from .prometheus import CONTENT_TYPE, render_metrics
from .registry import Registry
from .summed import Snapshot

_QUALITY = expression(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class _Liking(NamedTuple):
    """How much a format is wanted, and how closely it was named; the highest wins."""

    quality: float
    closeness: int


def scrape(metrics: Registry | Snapshot, accept: str = "") -> tuple[str, bytes]:
    """(Content-Type, body) for an Accept: OpenMetrics 1.0.0 where that is liked better than
    Prometheus text 0.0.4, which is also for who says nothing or takes neither.
    """
    ranges = [_range(item) for item in accept.lower().split(",")]
    openmetrics = _liking(ranges, "application", "openmetrics-text", "1.0.0")
    if openmetrics > _liking(ranges, "text", "plain", "0.0.4") and openmetrics.quality:
        return OPENMETRICS_TYPE, render_openmetrics(metrics)
    return CONTENT_TYPE, render_metrics(metrics)


def _range(item: str) -> tuple[str, Mapping[str, str]]:
    """A media range and its parameters."""
    kind, *rest = (part.strip() for part in item.split(";"))
    pairs = (part.partition("=") for part in rest)
    return kind, {name.strip(): value.strip(' "') for name, _, value in pairs}


def _liking(
    ranges: list[tuple[str, Mapping[str, str]]], kind: str, subtype: str, version: str
) -> _Liking:
    """By the range that names the format the most closely; (0, 0) where none does."""
    closeness = {"*/*": 1, f"{kind}/*": 2, f"{kind}/{subtype}": 3}
    best = _Liking(0.0, 0)
    for named, parameters in ranges:
        close = closeness.get(named, 0) + ("version" in parameters)
        quality = parameters.get("q", "1")
        fits = parameters.get("version", version) == version and _QUALITY.fullmatch(quality)
        if named in closeness and fits and close > best.closeness:
            best = _Liking(float(quality), close)
    return best
