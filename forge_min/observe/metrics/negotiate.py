"""Which text format a scrape gets: what its Accept likes best (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from ...text import preferences
from .openmetrics import OPENMETRICS_TYPE, render_openmetrics
from .prometheus import CONTENT_TYPE, render_metrics
from .registry import Registry
from .summed import Snapshot


def scrape(metrics: Registry | Snapshot, accept: str = "") -> tuple[str, bytes]:
    """(Content-Type, body) for an Accept: OpenMetrics 1.0.0 where that is liked better than
    Prometheus text 0.0.4, which is also for who says nothing or takes neither.
    """
    openmetrics = _liking(accept, "application", "openmetrics-text", "1.0.0")
    if openmetrics[0] and openmetrics > _liking(accept, "text", "plain", "0.0.4"):
        return OPENMETRICS_TYPE, render_openmetrics(metrics)
    return CONTENT_TYPE, render_metrics(metrics)


def _liking(accept: str, kind: str, subtype: str, version: str) -> tuple[float, int]:
    """How much a format is wanted, by the range that names it the most closely, and how closely
    that is.
    """
    ranges = [r for r in preferences(accept) if r[1].get("version", version) == version]
    weights = {name: weight for name, _, weight in ranges}
    for closeness, name in enumerate((f"{kind}/{subtype}", f"{kind}/*", "*/*")):
        if name in weights:
            return weights[name], -closeness
    return 0.0, 0
