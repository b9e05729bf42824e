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
from ..finding import Finding, format_error, join_names, new_finding, ok_unless, verdict
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
    if fanout.IMPL == "c":
        yield new_finding("D102", "ok", "runs")
        return
    state = site.if_unusual
    message = "its Python twin runs"
    if site.build.get("impl") == "c":
        state = site.if_unsafe
        message = f"the artifact has it, and {message}"
    forced = os.environ.get("FORGE_IMPL") == "python"
    yield new_finding("D102", state, message, next="unset FORGE_IMPL" if forced else "")


def check_driver(site: Site) -> Iterator[Finding]:
    """Check psycopg's implementation."""
    version = f"psycopg {psycopg.__version__}, {psycopg.pq.__impl__}"
    pure = psycopg.pq.__impl__ == "python"
    yield new_finding("D103", ok_unless(pure, "warning"), version)


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
        if isinstance(err, CheckTimeout):
            why = str(err)
        else:
            why = f"{_location(site, err)}{format_error(err)}"
        yield new_finding("D105", "failed", why)
        yield new_finding("D106", "skipped", _NOT_LOADED)
        yield new_finding("D107", "skipped", _NOT_LOADED)
        return
    yield new_finding("D105", "ok", "gen/registry.py and app.py load")
    pages = ", ".join(page.path for page in code.app.pages if page.unsafe_eval)
    yield verdict("D106", "warning", pages and f"on {pages}", "on no page")
    yield from _declare(code, declared)
    topics = []
    for resource in declared.resources:
        limited = any(transition.not_by for transition in resource.transitions)
        if limited and not resource.locked:
            topics.append(resource.topic)
    yield verdict("D108", "warning", join_names(topics), "none")


def _declare(project: ProjectCode, declared: Declarations) -> Iterator[Finding]:
    """Fill `declared`: kinds and tables also if the hooks do not fit."""
    try:
        registry, _ = project.declared_registry()
        resources = [actions.resource for actions in registry.actions.values()]
        declared.resources = resources
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
    if isinstance(err, ForgeError):
        return ""
    if isinstance(err, SyntaxError) and err.filename:
        lines = [(err.filename, err.lineno)]
    else:
        frames = traceback.extract_tb(err.__traceback__)
        lines = [(frame.filename, frame.lineno) for frame in frames]
    if not lines:
        return ""
    root = f"{site.artifact or site.root}/"
    inside = [line for line in lines if line[0].startswith(root)]
    file, number = (inside or lines)[-1]
    return f"{file.removeprefix(root)}:{number}: "
