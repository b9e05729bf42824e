"""The running code: its implementations, and the declarations that other checks need."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import psycopg

from ... import fanout, mail
from ...actions import Resource
from ...app import ProjectCode, declared_queues
from ...errors import ForgeError
from ...jobs import Catalogue, Kind, check_periodic
from ..finding import Finding, format_error, join_names, new_finding, verdict
from ..site import Site
from ..time_limit import CheckTimeout

_NOT_LOADED = "the project's code does not load"


@dataclass
class Declarations:
    """The declarations of the code; None if it does not load.

    kinds: the kinds of jobs with workers.
    queues: as of `declared_queues`.
    scoped: the tables of tenants.
    resources: with their tables.
    """

    kinds: Mapping[str, Kind] | None = None
    queues: Mapping[str, Sequence[str]] | None = None
    scoped: frozenset[str] | None = None
    resources: Sequence[Resource[Any]] = ()


def check_core(site: Site) -> Iterator[Finding]:
    """Check whether the compiled core or its Python twin runs."""
    state, wrong = site.if_unusual, "its Python twin runs"
    if site.build.get("impl") == "c":
        state, wrong = site.if_unsafe, "the artifact has it, and its Python twin runs"
    forced = os.environ.get("FORGE_IMPL") == "python"
    step = "unset FORGE_IMPL" if forced else ""
    yield verdict("D102", state, "" if fanout.IMPL == "c" else wrong, "runs", next=step)


def check_driver(site: Site) -> Iterator[Finding]:
    """Check psycopg's implementation."""
    version = f"psycopg {psycopg.__version__}, {psycopg.pq.__impl__}"
    pure = psycopg.pq.__impl__ == "python"
    yield new_finding("D103", "warning" if pure else "ok", version)


def check_mail(site: Site) -> Iterator[Finding]:
    """Connect to the mail server and sign in, as for a message."""
    url = site.settings["mail.url"]
    if not url:
        yield new_finding("D309", "skipped", "mail.url is not set: no message can be sent")
        return
    with mail.SMTPTransport(url).connected():
        yield new_finding("D309", "ok", "accepts connections")


def check_code(site: Site, declared: Declarations) -> Iterator[Finding]:
    """Import the code as `serve` does, with its output on stderr, and fill `declared`."""
    try:
        with redirect_stdout(sys.stderr):
            code = site.code()
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        timed_out = isinstance(err, CheckTimeout)
        why = str(err) if timed_out else f"{_location(site, err)}{format_error(err)}"
        yield new_finding("D105", "failed", why)
        yield new_finding("D106", "skipped", _NOT_LOADED)
        yield new_finding("D107", "skipped", _NOT_LOADED)
        return
    yield new_finding("D105", "ok", "gen/registry.py and app.py load")
    pages = ", ".join(page.path for page in code.app.pages if page.unsafe_eval)
    yield verdict("D106", "warning", pages and f"on {pages}", "on no page")
    yield from _declare(code, declared)
    limited = [r for r in declared.resources if any(t.not_by for t in r.transitions)]
    topics = join_names(r.topic for r in limited if not r.locked)
    yield verdict("D108", "warning", topics, "none")


def _declare(project: ProjectCode, declared: Declarations) -> Iterator[Finding]:
    """Fill `declared`: kinds and tables also if the hooks do not fit."""
    try:
        registry, _ = project.declared_registry()
        declared.resources = resources = [a.resource for a in registry.actions.values()]
        declared.scoped = frozenset(r.table for r in resources if r.tenant_scoped)
        declared.kinds = kinds = registry.declared()
        registry.bind_hooks()
        check_periodic(project.app.schedules, Catalogue(kinds))
        declared.queues = declared_queues(registry, project.app.schedules)
    except Exception as err:
        code = err.code if isinstance(err, ForgeError) else "D107"
        yield new_finding("D107", "failed", format_error(err), code=code)
    else:
        yield new_finding("D107", "ok", f"they fit; kinds: {len(kinds)}")


def _location(site: Site, err: BaseException) -> str:
    """Return the last line of the project in the traceback, else the last of all: "app.py:3: "."""
    if isinstance(err, SyntaxError) and err.filename:
        frames = [(err.filename, err.lineno)]
    else:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(err.__traceback__)]
    if isinstance(err, ForgeError) or not frames:
        return ""
    root = f"{site.artifact or site.root}/"
    file, line = next((f for f in reversed(frames) if f[0].startswith(root)), frames[-1])
    return f"{file.removeprefix(root)}:{line}: "
