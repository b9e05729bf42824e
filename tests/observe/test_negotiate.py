"""Which format a scrape gets for which Accept."""

from __future__ import annotations

import pytest
from forge_min.observe import CONTENT_TYPE, OPENMETRICS_TYPE, MetricRegistry, scrape
from hypothesis import given
from hypothesis import strategies as st

# As Prometheus 2.53 and 3.x send it (scrape/scrape.go, config.ScrapeProtocols).
OF_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OF_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
WITH_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.6," + OF_2
)
TEXT_ONLY = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [OF_2, OF_3, WITH_PROTOBUF, "application/openmetrics-text", "APPLICATION/OpenMetrics-Text",
     'application/openmetrics-text; version="1.0.0"', "application/openmetrics-text, */*",
     "application/*", "text/plain;q=0.4, application/openmetrics-text;q=0.5",
     "application/openmetrics-text;q=0.001", "text/plain;q=0, */*"],
)  # fmt: skip
def test_openmetrics_is_given_to_who_likes_it_better(accept: str) -> None:
    kind, body = scrape(MetricRegistry(), accept)
    assert kind == OPENMETRICS_TYPE and body.endswith(b"\n# EOF\n")


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", TEXT_ONLY, BROWSER, "text/plain", "text/*", "image/png", ",", ";", ";q=1",
     "a;b=c,,", "application/openmetrics-text;version=0.0.1",
     "application/openmetrics-text;version=2.0.0",
     "application/openmetrics-text;q=0", "application/openmetrics-text;q=0, */*",
     "application/openmetrics-text;q=0.3, text/plain;q=0.4",
     "application/openmetrics-text;q=0.5, */*;q=0.9", "application/openmetrics-text;q=nan",
     "application/openmetrics-text;q=7", "application/openmetrics-text, text/plain"],
)  # fmt: skip
def test_everybody_else_gets_prometheus_text(accept: str) -> None:
    kind, body = scrape(MetricRegistry(), accept)
    assert kind == CONTENT_TYPE and b"# EOF" not in body


@given(st.text())
def test_no_header_breaks_a_scrape(accept: str) -> None:
    kind, body = scrape(MetricRegistry(), accept)
    assert kind in (CONTENT_TYPE, OPENMETRICS_TYPE) and body
