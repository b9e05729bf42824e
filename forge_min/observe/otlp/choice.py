"""Which exporter sends spans: the official one where it is installed ([otlp]), else ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter

from .post import MOST_ANSWER, OTLPExporter, address

_OFFICIAL = "opentelemetry.exporter.otlp.proto.http"
_PROVIDER = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"  # has a session of its own


def new_exporter(endpoint: str, *, headers: Mapping[str, str] | None = None) -> SpanExporter:
    """An exporter to `<endpoint>/v1/traces`, as of OTLPExporter. Raises ConfigError (F200)."""
    address(endpoint)
    try:
        official, http = import_module(f"{_OFFICIAL}.trace_exporter"), import_module(_OFFICIAL)
        session = import_module("requests").Session()
    except ImportError:
        return OTLPExporter(endpoint, headers=headers)
    session.hooks["response"].append(_cut)
    provided = any(os.environ.get(_PROVIDER.format(part)) for part in ("", "TRACES_"))
    made: SpanExporter = official.OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces",
        headers=dict(headers or {}),
        compression=http.Compression.Gzip,
        session=None if provided else session,
    )
    return made


def _cut(response: Any, *args: object, **options: object) -> None:
    """Of an answer no more than ours reads: requests keeps all that a collector sends, which may
    have no end.
    """
    response._content = response.raw.read(MOST_ANSWER)
    response.raw.close()  # of one that was read to its end the connection is kept
