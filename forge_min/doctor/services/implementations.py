"""Which of their implementations run: our core's and psycopg's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg

from ... import fanout
from ..finding import Finding, State, found
from ..site import Site


def check_core(site: Site) -> Iterator[Finding]:
    """The compiled core, or its twin."""
    if fanout.IMPL == "c":
        yield found("D102", "ok", "runs")
    elif site.build.get("impl") == "c":
        yield _twin(site.graver, "the artifact has it, and its Python twin runs")
    else:
        yield _twin(site.lighter, "its Python twin runs")


def _twin(state: State, message: str) -> Finding:
    asked = os.environ.get("FORGE_IMPL") == "python"
    return found("D102", state, message, next="unset FORGE_IMPL" if asked else "")


def check_driver(site: Site) -> Iterator[Finding]:
    """psycopg's implementation."""
    told = f"psycopg {psycopg.__version__}, {psycopg.pq.__impl__}"
    pure = psycopg.pq.__impl__ == "python"
    yield found("D103", "warning" if pure else "ok", told)
