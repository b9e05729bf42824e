"""The project's code: whether it loads, and what it declares that other checks ask about."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ...app import App, Generated, declared_queues, declared_registry
from ...errors import ForgeError
from ...jobs import Catalogue, check_periodic
from ..examination import PATIENCE, Unanswered, apart, attempt
from ..finding import Finding, found, skipped, told, verdict
from ..site import Site

_OUT = "the project's code does not load"


class Worked(NamedTuple):
    """What a worker class says of its jobs. timeout: seconds; None: that of the configuration."""

    queue: str
    timeout: float | None


@dataclass
class Declared:
    """What the code says; None where it does not load. kinds: it has workers for. queues: of
    `declared_queues`. scoped: tables of tenants.
    """

    kinds: Mapping[str, Worked] | None = None
    queues: Mapping[str, Sequence[str]] | None = None
    scoped: frozenset[str] | None = None


def check_code(site: Site, declared: Declared) -> Iterator[Finding]:
    """Import it as `serve` does, in a process of its own, and fill `declared`."""
    try:
        findings, kinds, declared.queues, scoped = apart(partial(_look, site))
    except Unanswered as err:
        yield from _unloaded(str(err))
        return
    declared.kinds = None if kinds is None else {k: Worked(*row) for k, row in kinds.items()}
    declared.scoped = None if scoped is None else frozenset(scoped)
    yield from (Finding(*row) for row in findings)


def _look(site: Site) -> tuple[object, ...]:
    declared = Declared()
    # The alarm is not what ends it: whoever waits for the answer has less patience.
    findings = attempt("D105", partial(_load, site, declared), 2 * PATIENCE)
    scoped = None if declared.scoped is None else sorted(declared.scoped)
    return findings, declared.kinds, declared.queues, scoped


def _load(site: Site, declared: Declared) -> Iterator[Finding]:
    try:
        app, generated = site.code()
    except BaseException as err:
        yield from _unloaded(f"{_place(site, err)}{told(err)}")
        return
    yield found("D105", "ok", "gen/registry.py and app.py load")
    yield _evaluating(app)
    yield from _declare(app, generated, declared)


def _unloaded(why: str) -> Iterator[Finding]:
    yield found("D105", "failed", why)
    yield skipped("D106", _OUT)
    yield skipped("D107", _OUT)


def _evaluating(app: App) -> Finding:
    pages = [path for path, _, evaluating in app.pages if evaluating]
    return verdict("D106", "warning", f"on {', '.join(pages)}" if pages else "", "on no page")


def _declare(app: App, generated: Generated, declared: Declared) -> Iterator[Finding]:
    """Kinds and tables are known even where hooks do not fit."""
    try:
        registry = declared_registry(app, generated)
        resources = [actions.resource for actions in registry.actions.values()]
        declared.scoped = frozenset(r.table for r in resources if r.tenant_scoped)
        kinds = registry.declared()
        declared.kinds = {name: Worked(one.queue, one.timeout) for name, one in kinds.items()}
        registry.bind_hooks()
        check_periodic(app.schedules, Catalogue(kinds.values()))
        declared.queues = declared_queues(registry, app.schedules)
    except ForgeError as err:
        yield found("D107", "failed", told(err), code=err.code)
    except BaseException as err:
        yield found("D107", "failed", told(err), code="D107")
    else:
        yield found("D107", "ok", f"they fit; kinds: {len(kinds)}")


def _place(site: Site, err: BaseException) -> str:
    """The last line of the project that was reached, else the last one of all: "app.py:3: "."""
    if isinstance(err, SyntaxError) and err.filename:
        frames = [(err.filename, err.lineno)]
    else:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(err.__traceback__)]
    if isinstance(err, ForgeError) or not frames:
        return ""
    root = f"{site.artifact or site.root}/"
    file, line = next((f for f in reversed(frames) if f[0].startswith(root)), frames[-1])
    return f"{file.removeprefix(root)}:{line}: "
