"""The project's code: whether it loads, and what it declares that other checks ask about."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass

from ...app import App, Generated, declared_registry
from ...errors import ForgeError
from ...jobs import Catalogue, Kind, check_periodic
from ..finding import Finding, broken, found, skipped, told, verdict
from ..site import Site

_OUT = "the project's code does not load"


@dataclass
class Declared:
    """What the code says; None where it does not load. kinds: it has workers for. scoped: tables of
    tenants.
    """

    kinds: Mapping[str, Kind] | None = None
    scoped: frozenset[str] | None = None


def check_code(site: Site, declared: Declared) -> Iterator[Finding]:
    """Import it as `serve` does, and fill `declared`."""
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of our answer
            app, generated = site.code()
    except (Exception, SystemExit) as err:
        yield found("D105", "failed", f"{_place(site, err)}{told(err)}")
        yield skipped("D106", _OUT)
        yield skipped("D107", _OUT)
        return
    yield found("D105", "ok", "gen/registry.py and app.py load")
    yield _evaluating(app)
    yield from _declare(app, generated, declared)


def _evaluating(app: App) -> Finding:
    pages = [path for path, _, evaluating in app.pages if evaluating]
    return verdict("D106", "warning", f"on {', '.join(pages)}" if pages else "", "on no page")


def _declare(app: App, generated: Generated, declared: Declared) -> Iterator[Finding]:
    """Kinds and tables are known even where hooks do not fit."""
    try:
        registry = declared_registry(app, generated)
        resources = [actions.resource for actions in registry.actions.values()]
        declared.scoped = frozenset(r.table for r in resources if r.tenant_scoped)
        declared.kinds = registry.declared()
        registry.bind_hooks()
        check_periodic(app.schedules, Catalogue(declared.kinds.values()))
    except ForgeError as err:
        yield found("D107", "failed", told(err), code=err.code)
    except Exception as err:
        yield broken("D107", err)
    else:
        yield found("D107", "ok", f"they fit; kinds: {len(declared.kinds)}")


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
